"""One health check, asked of real endpoints."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from ingressd.process.probe import BODY_BYTES, Probe, Result
from ingressd.table.health import HealthCheck, HealthTarget
from tests.support.backend import backend
from tests.support.certificates import authority
from tests.unit.process.endpoints import Handler, serving, unused_port

HTTP = HealthCheck("http", "/healthz")
SHORT_S = 0.1


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    probe = Probe()
    yield probe
    await probe.close()


def answering(status: int = 200, body: bytes = b"", **headers: str) -> Handler:
    async def handler(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """A listener that accepts and says nothing; its port."""
    async with backend(lambda peer: peer.eof()) as app:
        yield app.port


async def ask(probe: Probe, port: int, address: str = "127.0.0.1", **check: Any) -> Result:
    values: dict[str, Any] = {"kind": "http", "path": "/healthz", **check}
    return await asyncio.wait_for(probe.ask(HealthTarget(address, port, HealthCheck(**values))), 10)


@pytest.mark.parametrize(
    ("status", "accepted", "good"),
    [
        (200, ((200, 399),), True),
        (302, ((200, 399),), True),
        (404, ((200, 399),), False),
        (503, ((200, 399),), False),
        (401, ((200, 299), (401, 401)), True),
        (200, ((204, 204),), False),
    ],
)
async def test_the_status_decides(
    probe: Probe, status: int, accepted: tuple[tuple[int, int], ...], *, good: bool
) -> None:
    async with serving(answering(status, Location="http://127.0.0.1:1/")) as port:
        result = await ask(probe, port, statuses=accepted)
        assert (result.good, result.detail) == (good, f"status {status}")
        assert result.took_s > 0


async def test_an_endpoint_is_asked_for_the_path_under_the_host_and_no_more(probe: Probe) -> None:
    seen: list[web.BaseRequest] = []
    connections = set()

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.append(request)
        connections.add(request.transport)
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with serving(handler) as port:
        await ask(probe, port, path="/a%2fb?c=%20d", host="app.example:81")
        await ask(probe, port)
        first, second = seen
        assert (first.method, first.raw_path, first.headers["Host"]) == ("GET", "/a%2fb?c=%20d", "app.example:81")
        assert second.headers["Host"] == f"127.0.0.1:{port}"
        assert first.headers["Connection"] == "close"
        assert first.headers["User-Agent"] == "ingressd-health"
        assert "Cookie" not in second.headers
        assert len(connections) == 2


async def test_a_proxy_of_the_environment_is_not_asked(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    async with serving(answering()) as port:
        assert (await ask(probe, port)).good


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (b"all is well", True),
        (b"x" * (BODY_BYTES - 4) + b"well", True),
        (b"x" * (BODY_BYTES - 3) + b"well", False),
        (b"ill", False),
        (b"", False),
    ],
)
async def test_the_body_has_to_contain_a_text_in_its_first_64_kib(probe: Probe, body: bytes, *, good: bool) -> None:
    async with serving(answering(body=body)) as port:
        result = await ask(probe, port, body="well")
        assert result.good is good
        assert good or result.detail == "status 200, but its body does not contain 'well'"


async def test_a_body_that_never_ends_costs_no_more_than_the_timeout(probe: Probe) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"we")
        await asyncio.sleep(60)
        return response

    async with serving(handler) as port:
        assert (await ask(probe, port, body="well", timeout_s=SHORT_S)).detail == "no answer within 0.1 s"
        assert (await ask(probe, port, timeout_s=5.0)).good, "without a text to look for the body is not waited for"


async def test_who_says_nothing_is_ill_but_connected(probe: Probe) -> None:
    async with silent() as port:
        assert (await ask(probe, port, timeout_s=SHORT_S))[:2] == (False, "no answer within 0.1 s")
        assert (await ask(probe, port, kind="tls", path="", timeout_s=SHORT_S))[:2] == (False, "no answer within 0.1 s")
        assert (await ask(probe, port, kind="tcp", path=""))[:2] == (True, "connected")


@pytest.mark.parametrize("check", [{}, {"kind": "tcp", "path": ""}, {"kind": "tls", "path": ""}, {"kind": "https"}])
async def test_who_is_not_there_is_ill(probe: Probe, check: dict[str, str]) -> None:
    assert (await ask(probe, unused_port(), **check))[:2] == (False, "connection refused")


async def test_tls_is_spoken_with_the_name_of_the_host_and_any_certificate(probe: Probe) -> None:
    names: list[object] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        names.append(request.headers["Host"])
        return web.Response()

    async with serving(handler, tls=True) as port:
        assert (await ask(probe, port, kind="https", host="app.example")).good
        assert (await ask(probe, port, kind="https")).good
        assert (await ask(probe, port, kind="tls", path="", host="app.example"))[:2] == (True, "TLS handshake done")
        assert (await ask(probe, port, kind="tls", path="")).good
        plain = await ask(probe, port)
        assert not plain.good
    assert names == ["app.example", f"127.0.0.1:{port}"]


async def test_the_server_name_is_the_host_without_its_port(probe: Probe) -> None:
    named: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("app.example").configure_cert(context)
    context.sni_callback = lambda _connection, name, _context: named.append(name)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for kind, path in (("tls", ""), ("https", "/")):
            await ask(probe, port, kind=kind, path=path, host="app.example:8443")
    assert named == ["app.example", "app.example"]


async def test_a_listener_without_tls_is_told_apart(probe: Probe) -> None:
    async with serving(answering()) as port:
        for check in ({"kind": "https"}, {"kind": "tls", "path": ""}):
            result = await ask(probe, port, **check)
            assert not result.good
            assert "TLS" in result.detail or "SSL" in result.detail


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (b"SSH-2.0-x\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "the answer is not HTTP"),
        (b"", "the connection was closed without an answer"),
    ],
)
async def test_garbage_is_ill(probe: Probe, said: bytes, detail: str) -> None:
    async def conversation(peer: Any) -> None:
        await peer.head()
        await peer.send(said)

    async with backend(conversation) as app:
        assert (await ask(probe, app.port))[:2] == (False, detail)


async def test_a_check_that_is_cut_off_is_not_repeated(probe: Probe) -> None:
    async def cut(peer: Any) -> None:
        await peer.head()

    async with backend(cut) as app:
        assert not (await ask(probe, app.port)).good
        assert len(app.peers) == 1


async def test_ipv6_addresses_are_asked(probe: Probe) -> None:
    async with serving(answering(), address="::1") as port:
        assert (await ask(probe, port, address="::1")).good
        assert (await ask(probe, port, address="::1", kind="tcp", path="")).good
