"""The same requests to nginx with the directives that ingress-nginx writes, and to routes with its annotations: limits,
CORS, and what is changed in responses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.answers import field_values
from tests.support.backend import Peer, backend
from tests.support.manifest_edge import ingress_yaml, service_yaml, serving_manifests
from tests.support.nginx import PATIENCE_S, nginx

CLIENT, OTHER_CLIENT = "127.0.0.1", "127.0.0.2"
BODY_BYTES = 1024
CORS_FIELDS = (
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
    "vary",
)


class Site(NamedTuple):
    """A path: what it does in nginx, and as annotations. `http`: directives beside the server."""

    directives: str
    annotations: Mapping[str, str]
    http: str = ""


def _rate(name: str, rate: str, burst: int) -> tuple[str, str]:
    zone = f"limit_req_zone $binary_remote_addr zone={name}:1m rate={rate};"
    return zone, f"limit_req zone={name} burst={burst} nodelay;"


SLOW, SLOW_HERE = _rate("slow", "1r/m", 5)
WIDE, WIDE_HERE = _rate("wide", "2r/m", 6)
FAST, FAST_HERE = _rate("fast", "1000r/s", 5000)
FEW, FEW_HERE = _rate("few", "3r/m", 3)

LIMITS = {
    "/slow": Site(SLOW_HERE, {"limit-rpm": "1"}, SLOW),
    "/wide": Site(WIDE_HERE, {"limit-rpm": "2", "limit-burst-multiplier": "3"}, WIDE),
    "/both": Site(
        FAST_HERE + FEW_HERE, {"limit-rps": "1000", "limit-rpm": "3", "limit-burst-multiplier": "1"}, FAST + FEW
    ),
    "/held": Site(
        "limit_conn held 2;", {"limit-connections": "2"}, "limit_conn_zone $binary_remote_addr zone=held:1m;"
    ),
}


def _added(fields: Mapping[str, str]) -> str:
    return "".join(f'add_header {name} "{value}" always; proxy_hide_header {name};' for name, value in fields.items())


METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
HEADERS = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
PREFLIGHT = "if ($request_method = OPTIONS) { return 204; }"
ANY = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": HEADERS,
    "Access-Control-Max-Age": "1728000",
}
SOME = {
    "Access-Control-Allow-Origin": "$allowed",
    "Access-Control-Allow-Methods": "${allowed_methods}",
    "Access-Control-Allow-Headers": "${allowed_headers}",
    "Access-Control-Expose-Headers": "${exposed}",
    "Access-Control-Max-Age": "${age}",
}


def _when_allowed(variable: str, value: str) -> str:
    return f'map $allowed ${variable} {{ "" ""; default "{value}"; }}\n'


CORS = {
    "/any": Site(_added(ANY) + PREFLIGHT, {"enable-cors": "true"}),
    "/some": Site(
        _added(SOME) + "add_header Vary Origin always;" + PREFLIGHT,
        {
            "enable-cors": "true",
            "cors-allow-origin": "https://a.page.test, https://*.b.test:8443",
            "cors-allow-methods": "GET, POST",
            "cors-allow-headers": "X-One",
            "cors-expose-headers": "X-Two, X-Three",
            "cors-allow-credentials": "false",
            "cors-max-age": "60",
        },
        'map $http_origin $allowed { default ""; https://a.page.test $http_origin;'
        r' "~*^https://[^./]+\.b\.test:8443$" $http_origin; }'
        + _when_allowed("allowed_methods", "GET, POST")
        + _when_allowed("allowed_headers", "X-One")
        + _when_allowed("exposed", "X-Two, X-Three")
        + _when_allowed("age", "60"),
    ),
}
ORIGINS = (
    "",
    "https://a.page.test",
    "http://a.page.test",
    "https://x.b.test:8443",
    "https://x.y.b.test:8443",
    "https://b.test:8443",
    "https://x.b.test",
    "https://a.page.test.evil.test",
    "HTTPS://A.PAGE.TEST",
    "null",
)

CHANGES = {
    "/redirect": Site(
        "proxy_redirect http://inner.example/ $scheme://$http_host/out/;",
        {"proxy-redirect-from": "http://inner.example/", "proxy-redirect-to": "$scheme://$best_http_host/out/"},
    ),
    "/default": Site("proxy_redirect default;", {"proxy-redirect-from": "default"}),
    "/untouched": Site("proxy_redirect off;", {"proxy-redirect-from": "off", "proxy-redirect-to": "off"}),
    "/cookie": Site(
        "proxy_cookie_path /inner/ /outer/; proxy_cookie_domain inner.example outer.example;",
        {"proxy-cookie-path": "/inner/ /outer/", "proxy-cookie-domain": "inner.example outer.example"},
    ),
    "/expression": Site(
        'proxy_cookie_path "~*^/user/([^/]+)" "/u/$1"; proxy_cookie_domain "~^([a-z]+)[.]example$" $1.test;',
        {"proxy-cookie-path": "~*^/user/([^/]+) /u/$1", "proxy-cookie-domain": "~^([a-z]+)[.]example$ $1.test"},
    ),
    "/dots": Site(
        "proxy_cookie_domain .inner.example .outer.example;",
        {"proxy-cookie-domain": ".inner.example .outer.example"},
    ),
}
URLS = (
    "http://inner.example/",
    "http://inner.example/a/b?c=d",
    "http://inner.example",
    "http://inner.example:80/x",
    "https://inner.example/x",
    "HTTP://inner.example/x",
    "http://other.example/x",
    "http://{endpoint}/x",
    "http://{endpoint}/",
)
COOKIES = (
    "a=b",
    "a=b; Path=/inner/",
    "a=b; Path=/inner/deep; HttpOnly",
    "a=b; path=/inner/x; Max-Age=5; Secure",
    "a=b; Path=/inner",
    "a=b; Path=/INNER/x",
    "a=b; Path=/other/; Domain=inner.example",
    "a=b; Domain=inner.example; Path=/inner/",
    "a=b; Domain=.inner.example",
    "a=b; Domain=INNER.example; SameSite=Lax",
    "a=b; Domain=sub.inner.example",
    "a=b; Path=/user/joe/x; Domain=one.example",
    "a=b; Path=/User/joe",
    "path=/inner/; Path=/inner/",
)

SIZES = {
    "/small": Site("client_max_body_size 1k;", {"proxy-body-size": "1k"}),
    "/default": Site("client_max_body_size 1m;", {}),
    "/endless": Site("client_max_body_size 0;", {"proxy-body-size": "0"}),
}


class Asked(NamedTuple):
    """What one request became."""

    status: int
    head: bytes

    def fields(self, names: Sequence[str]) -> dict[str, list[str]]:
        """The values of these fields, by name."""
        return {name: [value.decode("latin-1") for value in field_values(self.head, name.encode())] for name in names}


class Program(NamedTuple):
    """One of the two."""

    port: int

    async def ask(
        self, target: str, *lines: str, method: str = "GET", body: bytes = b"", client: str = CLIENT
    ) -> Asked:
        """One request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(client, 0))
        head = "".join(f"{line}\r\n" for line in (f"Host: a.test:{self.port}", "Connection: close", *lines))
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        writer.close()
        return Asked(int(answer.split(b" ", 2)[1]), answer)


class Both(NamedTuple):
    """The two programs, in front of the same backend."""

    ours: Program
    theirs: Program
    held: deque[asyncio.Event]
    """Of requests that the backend has and does not answer yet."""
    arrived: asyncio.Semaphore
    endpoint: str


@asynccontextmanager
async def _both(folder: Path, sites: Mapping[str, Site]) -> AsyncIterator[Both]:
    held: deque[asyncio.Event] = deque()
    arrived = asyncio.Semaphore(0)

    async def conversation(peer: Peer) -> None:
        """Answers with the status and the lines that the request wishes for; holds those to /held."""
        head = (await peer.head()).decode("latin-1")
        if head.startswith("GET /held"):
            event = asyncio.Event()
            held.append(event)
            arrived.release()
            await event.wait()
        wishes = dict(line.split(": ", 1) for line in head.split("\r\n") if line.startswith("X-Want"))
        lines = "".join(f"{line}\r\n" for line in wishes.get("X-Want-Line", "").split("|") if line)
        status = wishes.get("X-Want", "200")
        await peer.send(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n{lines}\r\n".encode())
        await peer.eof()

    async with backend(conversation) as app:
        locations = "".join(
            f"location {path} {{ proxy_pass http://127.0.0.1:{app.port}; {site.directives} }}\n"
            for path, site in sites.items()
        )
        http = "".join(site.http for site in sites.values())
        manifests = service_yaml({"app": app.port}) + "".join(
            ingress_yaml({"ssl-redirect": "false", **site.annotations}, name=path[1:], path=path)
            for path, site in sites.items()
        )
        async with (
            serving_manifests(manifests) as edge,
            nginx(folder, f"{http}\nserver {{ listen @; {locations} }}") as port,
        ):
            yield Both(Program(edge.port), Program(port), held, arrived, f"127.0.0.1:{app.port}")


async def test_the_same_requests_of_a_client_are_above_its_rate(tmp_path: Path) -> None:
    async with _both(tmp_path, LIMITS) as both:
        for path in ("/slow", "/wide", "/both"):
            found = []
            for program in (both.ours, both.theirs):
                statuses = [(await program.ask(path)).status for _ in range(9)]
                statuses.append((await program.ask(path, client=OTHER_CLIENT)).status)
                statuses.append((await program.ask(path)).status)
                found.append(statuses)
            assert found[0] == found[1], path
            assert {200, 503} == set(found[0])


async def test_a_client_has_as_many_requests_at_a_time_as_nginx_lets_it_have(tmp_path: Path) -> None:
    async with _both(tmp_path, LIMITS) as both:
        for program in (both.ours, both.theirs):
            waiting = [asyncio.create_task(program.ask("/held")) for _ in range(2)]
            for _ in waiting:
                await asyncio.wait_for(both.arrived.acquire(), PATIENCE_S)
            assert (await program.ask("/held")).status == 503
            other = asyncio.create_task(program.ask("/held", client=OTHER_CLIENT))
            await asyncio.wait_for(both.arrived.acquire(), PATIENCE_S)
            both.held.popleft().set()
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
            after = asyncio.create_task(program.ask("/held"))
            await asyncio.wait_for(both.arrived.acquire(), PATIENCE_S)
            assert (await program.ask("/held")).status == 503
            while both.held:
                both.held.popleft().set()
            assert [(await task).status for task in (*waiting, other, after)] == [200] * 4


@pytest.mark.parametrize("path", CORS)
async def test_pages_of_other_origins_are_told_the_same(tmp_path: Path, path: str) -> None:
    own = "Access-Control-Allow-Origin: https://endpoint.test|Access-Control-Max-Age: 1"
    async with _both(tmp_path, CORS) as both:
        for origin in ORIGINS:
            for method, want in (("GET", "200"), ("GET", "404"), ("POST", "500"), ("OPTIONS", "200")):
                lines = [f"X-Want: {want}", f"X-Want-Line: {own}", *([f"Origin: {origin}"] if origin else [])]
                if method == "POST":
                    lines.append("Content-Length: 0")
                ours, theirs = [await each.ask(path, *lines, method=method) for each in (both.ours, both.theirs)]
                assert ours.status == theirs.status == (204 if method == "OPTIONS" else int(want))
                assert ours.fields(CORS_FIELDS) == theirs.fields(CORS_FIELDS), (origin, method)


@pytest.mark.parametrize("path", [path for path in CHANGES if "proxy_redirect" in CHANGES[path].directives])
async def test_locations_of_an_endpoint_become_what_nginx_makes_of_them(tmp_path: Path, path: str) -> None:
    async with _both(tmp_path, CHANGES) as both:
        for url in (url.format(endpoint=both.endpoint) for url in URLS):
            lines = ("X-Want: 302", f"X-Want-Line: Location: {url}|Refresh: 5; url={url}")
            answers = [await program.ask(path, *lines) for program in (both.ours, both.theirs)]
            ours, theirs = (
                str(answer.fields(("location", "refresh"))).replace(f":{program.port}", ":PORT")
                for answer, program in zip(answers, (both.ours, both.theirs), strict=True)
            )
            assert ours == theirs, url


@pytest.mark.parametrize("path", ["/cookie", "/expression", "/dots"])
async def test_cookies_of_an_endpoint_become_what_nginx_makes_of_them(tmp_path: Path, path: str) -> None:
    lines = "|".join(f"Set-Cookie: {cookie}" for cookie in COOKIES)
    async with _both(tmp_path, CHANGES) as both:
        ours, theirs = [
            (await program.ask(path, f"X-Want-Line: {lines}")).fields(("set-cookie",))["set-cookie"]
            for program in (both.ours, both.theirs)
        ]
        assert ours == theirs
        assert ours != list(COOKIES)


async def test_a_body_is_too_large_from_the_same_byte_on(tmp_path: Path) -> None:
    async with _both(tmp_path, SIZES) as both:
        for size in (0, BODY_BYTES - 1, BODY_BYTES, BODY_BYTES + 1, 10 * BODY_BYTES):
            for path, most in (("/small", BODY_BYTES), ("/default", BODY_BYTES**2), ("/endless", size)):
                chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)) if size else b"0\r\n\r\n"
                for lines, body in (
                    (f"Content-Length: {size}", bytes(size)),
                    ("Transfer-Encoding: chunked", chunked),
                ):
                    for program in (both.ours, both.theirs):
                        answer = await program.ask(path, lines, method="POST", body=body)
                        assert answer.status == (200 if size <= most else 413), (path, size, lines)
        for size, status in ((BODY_BYTES**2, 200), (BODY_BYTES**2 + 1, 413)):
            for program in (both.ours, both.theirs):
                body = bytes(size) if status == 200 else b""  # what is announced is enough to be refused
                answer = await program.ask("/default", f"Content-Length: {size}", method="POST", body=body)
                assert answer.status == status
