"""The admin API on a real server: shapes, statuses, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from ingressd import __version__
from ingressd.admin.app import PAGES, make_app
from ingressd.admin.guard import OPEN_PAGES, is_local_host
from ingressd.admin.token import Token

ROUTE = {"host": "shop.localhost", "path": "/", "file": "a.yaml", "line": 3}


class FixedView:
    """A View of one route."""

    def __init__(self) -> None:
        self.is_ready = True
        self.explained: tuple[str, str, Sequence[tuple[str, str]]] | None = None

    def ready(self) -> bool:
        return self.is_ready

    def condition(self) -> str:
        return "serving" if self.is_ready else "draining"

    def status(self) -> dict[str, Any]:
        return {"generation": 7}

    def faults(self) -> list[dict[str, Any]]:
        return [{"code": "service_missing"}]

    def routes(self) -> list[dict[str, Any]]:
        return [ROUTE]

    async def services(self) -> list[dict[str, Any]]:
        return [{"name": "shop"}]

    def certificates(self) -> list[dict[str, Any]]:
        raise RuntimeError("a bug")

    def reloads(self) -> list[dict[str, Any]]:
        return []

    def explain(self, url: str, method: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
        if url == "nonsense":
            raise ValueError("nonsense is not a URL")
        self.explained = (url, method, headers)
        return {"route": ROUTE}

    async def metrics(self) -> bytes:
        return b"ingressd_up 1\n"


Client = TestClient[Any, Any]


@pytest.fixture
def view() -> FixedView:
    return FixedView()


@pytest.fixture
async def client(view: FixedView, aiohttp_client: AiohttpClient) -> Client:
    return await aiohttp_client(make_app(view))


async def test_health_and_readiness_answer_text(client: Client, view: FixedView) -> None:
    assert (await client.get("/healthz")).status == 200
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (200, "serving\n")
    view.is_ready = False
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (503, "draining\n")
    assert (await client.get("/healthz")).status == 200


async def test_lists_are_json(client: Client) -> None:
    for page, expected in (
        ("status", {"generation": 7}),
        ("routes", [ROUTE]),
        ("services", [{"name": "shop"}]),
        ("reloads", []),
    ):
        answer = await client.get(f"/api/v1/{page}")
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert await answer.json() == expected


async def test_metrics_are_prometheus_text(client: Client) -> None:
    answer = await client.get("/metrics")
    assert await answer.read() == b"ingressd_up 1\n"
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_explain_gets_url_method_and_repeated_headers(client: Client, view: FixedView) -> None:
    answer = await client.get(
        "/api/v1/explain",
        params=[("url", "http://shop.localhost/a?b=c"), ("method", "POST"), ("header", "A: 1"), ("header", "B:x:y")],
    )
    assert await answer.json() == {"route": ROUTE}
    assert view.explained == ("http://shop.localhost/a?b=c", "POST", [("A", "1"), ("B", "x:y")])


@pytest.mark.parametrize(
    ("query", "word"), [("", "url"), ("url=http://a/&header=nocolon", "header"), ("url=nonsense", "not a URL")]
)
async def test_a_wrong_question_is_a_json_error(client: Client, query: str, word: str) -> None:
    answer = await client.get(f"/api/v1/explain?{query}")
    assert answer.status == 400
    assert word in (await answer.json())["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/v1/routes", "/healthz", "/nowhere"])
async def test_writing_methods_are_refused_everywhere(client: Client, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert "error" in await answer.json()


async def test_head_answers_without_a_body(client: Client) -> None:
    answer = await client.head("/api/v1/routes")
    assert answer.status == 200
    assert await answer.read() == b""


async def test_an_unknown_page_is_a_json_404(client: Client) -> None:
    answer = await client.get("/api/v2/routes")
    assert answer.status == 404
    assert "error" in await answer.json()


async def test_a_bug_is_a_json_500_that_tells_nothing(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = await client.get("/api/v1/certificates")
    assert answer.status == 500
    assert "bug" not in await answer.text()
    assert "a bug" in caplog.text


async def test_the_index_lists_every_page(client: Client) -> None:
    answer = await client.get("/")
    text = await answer.text()
    assert answer.content_type == "text/html"
    assert __version__ in text
    for path, _ in PAGES:
        assert path.partition("?")[0] in text
        assert (await client.get(path)).status in (200, 500)


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/status", "/api/v1/nothing", "/api/v1/certificates"])
async def test_every_answer_is_protected_and_names_no_software(client: Client, path: str) -> None:
    headers = (await client.get(path)).headers
    assert "Server" not in headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9080", "[::1", ""])
async def test_foreign_hosts_are_refused(client: Client, host: str) -> None:
    answer = await client.get("/api/v1/routes", headers={"Host": host})
    assert answer.status == 403
    assert "error" in await answer.json()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "admin.localhost", "my_host-1"])
@pytest.mark.parametrize("port", ["", ":9080"])
def test_names_of_this_machine_are_local(host: str, port: str) -> None:
    assert is_local_host(host + port)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3:9080", "[::1]:9080", "[::1]", "::1"])
def test_addresses_are_local(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize("host", ["a.b", "localhost:x", "localhost:123456", "[::1]x", "1.2.3", "x" * 64])
@pytest.mark.parametrize("tail", ["", "/", "é"])
def test_what_an_outsider_could_name_is_not(host: str, tail: str) -> None:
    assert not is_local_host(host + tail)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example/.localhost",
        "evil.example\\.localhost",
        "evil .localhost",
        "..localhost",
        "a@.localhost",
        "-.localhost",
        f"{'x' * 64}.localhost",
        f"{'x.' * 128}localhost",
    ],
)
def test_what_ends_in_localhost_is_local_only_as_a_name(host: str) -> None:
    assert not is_local_host(host)


async def test_a_target_with_a_foreign_authority_is_refused_whatever_host_says(client: Client) -> None:
    url = URL("http://evil.example/api/v1/routes", encoded=True)
    answer = await client.session.get(client.make_url("/"), proxy=client.make_url("/"), headers={"Host": "localhost"})
    assert answer.status == 200
    foreign = await client.session.get(url, proxy=client.make_url("/"), headers={"Host": "localhost"})
    assert foreign.status == 403


# With a token.

SECRET = "a-secret-of-the-tests-0123456789"
BEARER = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
async def guarded(view: FixedView, aiohttp_client: AiohttpClient) -> Client:
    token = Token(SECRET)
    return await aiohttp_client(make_app(view, lambda: token))


@pytest.mark.parametrize("path", [path for path, _ in PAGES if path not in OPEN_PAGES] + ["/", "/nowhere"])
async def test_every_page_but_those_of_probes_demands_the_token(guarded: Client, path: str) -> None:
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {SECRET}"}):
        for method in ("GET", "HEAD", "POST"):
            answer = await guarded.request(method, path, headers=given)
            assert answer.status == 401
            challenge = 'Bearer realm="ingressd"' + (', error="invalid_token"' if given else "")
            assert answer.headers["WWW-Authenticate"] == challenge
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert method == "HEAD" or "error" in await answer.json()
    assert (await guarded.get(path, headers=BEARER)).status in (200, 404, 500)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", ["localhost", "proxy.internal.example:9080"])
async def test_probes_need_no_token_and_can_only_read(guarded: Client, path: str, host: str) -> None:
    assert (await guarded.get(path, headers={"Host": host})).status == 200
    assert (await guarded.post(path, headers={"Host": host})).status == 405


@pytest.mark.parametrize(
    "path", ["/healthz/", "/healthz//", "/healthz/../api/v1/routes", "/readyz%2f..%2fmetrics", "/HEALTHZ", "/healthz;x"]
)
async def test_what_only_looks_like_a_probe_needs_the_token(guarded: Client, path: str) -> None:
    answer = await guarded.get(URL(path, encoded=True))
    assert answer.status == 401


async def test_whoever_has_the_token_may_use_any_name_of_the_machine(guarded: Client) -> None:
    answer = await guarded.get("/api/v1/routes", headers={**BEARER, "Host": "admin.example.com"})
    assert (answer.status, await answer.json()) == (200, [ROUTE])


async def test_a_page_that_dns_led_here_does_not_get_far_without_the_token(guarded: Client) -> None:
    answer = await guarded.get("/api/v1/routes", headers={"Host": "evil.example", "Origin": "http://evil.example"})
    assert answer.status == 401
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_writing_methods_are_refused_with_the_token_too(guarded: Client) -> None:
    assert (await guarded.delete("/api/v1/routes", headers=BEARER)).status == 405


async def test_a_token_that_was_exchanged_counts_from_the_next_request_on(
    view: FixedView, aiohttp_client: AiohttpClient
) -> None:
    tokens = [Token(SECRET)]
    client = await aiohttp_client(make_app(view, lambda: tokens[-1]))
    assert (await client.get("/", headers=BEARER)).status == 200
    tokens.append(Token("the-next-one-0123456789"))
    assert (await client.get("/", headers=BEARER)).status == 401


async def test_wrong_tokens_are_told_once_a_minute_and_never_shown(
    guarded: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        await guarded.get("/", headers={"Authorization": "Bearer a-guess-of-somebody"})
    (record,) = [record for record in caplog.records if record.name == "ingressd.admin.guard"]
    assert record.getMessage() == "the admin port refused a wrong token from 127.0.0.1"
    assert "a-guess" not in caplog.text
    assert SECRET not in caplog.text
