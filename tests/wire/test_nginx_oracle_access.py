"""The same requests to nginx with the directives that ingress-nginx writes, and to routes with its annotations."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.answers import Answer, field_values, read_answers
from tests.support.backend import Backend, Peer, backend, echo
from tests.support.manifest_edge import ingress_yaml, service_yaml, serving_manifests

FLAGS = {"md5": "-m", "bcrypt": "-B", "sha": "-s", "des": "-d", "sha256": "-2", "sha512": "-5"}
"""A user for each algorithm of htpasswd; the password is the name backwards."""


class Site(NamedTuple):
    """What a path does in nginx, and as annotations."""

    directives: str
    annotations: Mapping[str, str]


BASIC = 'auth_basic "the shop"; auth_basic_user_file {users}; proxy_set_header Authorization "";'
BASIC_TOO = {"auth-type": "basic", "auth-secret": "users", "auth-realm": "the shop"}
INSIDE = "allow 127.0.0.0/8; deny all;"
OUTSIDE = "allow 10.0.0.0/8; deny all;"
ASKED = (
    "auth_request /=asked; auth_request_set $user $upstream_http_x_user; proxy_set_header X-User $user;"
    " auth_request_set $cookie $upstream_http_set_cookie; add_header Set-Cookie $cookie;"
)
ASKED_TOO = {"auth-url": "http://127.0.0.1:{auth}/", "auth-response-headers": "X-User"}

SITES = {
    "/basic": Site(BASIC, BASIC_TOO),
    "/inside": Site(INSIDE, {"allowlist-source-range": "127.0.0.0/8"}),
    "/outside": Site(OUTSIDE, {"whitelist-source-range": "10.0.0.0/8"}),
    "/denied": Site("deny 127.0.0.1;", {"denylist-source-range": "127.0.0.1"}),
    "/denied-first": Site(
        f"deny 127.0.0.1; {INSIDE}", {"denylist-source-range": "127.0.0.1", "allowlist-source-range": "127.0.0.0/8"}
    ),
    "/not-denied": Site("deny 10.0.0.0/8;", {"denylist-source-range": "10.0.0.0/8"}),
    "/all-inside": Site(f"{INSIDE} {BASIC}", {**BASIC_TOO, "allowlist-source-range": "127.0.0.0/8"}),
    "/all-outside": Site(f"{OUTSIDE} {BASIC}", {**BASIC_TOO, "allowlist-source-range": "10.0.0.0/8"}),
    "/any-inside": Site(
        f"satisfy any; {INSIDE} {BASIC}", {**BASIC_TOO, "satisfy": "any", "allowlist-source-range": "127.0.0.0/8"}
    ),
    "/any-outside": Site(
        f"satisfy any; {OUTSIDE} {BASIC}", {**BASIC_TOO, "satisfy": "any", "allowlist-source-range": "10.0.0.0/8"}
    ),
    "/any-not-denied": Site(
        f"satisfy any; deny 10.0.0.0/8; {BASIC}", {**BASIC_TOO, "satisfy": "any", "denylist-source-range": "10.0.0.0/8"}
    ),
    "/asked": Site(ASKED, ASKED_TOO),
    "/any-asked": Site(
        f"satisfy any; {OUTSIDE} {ASKED}", {**ASKED_TOO, "satisfy": "any", "allowlist-source-range": "10.0.0.0/8"}
    ),
}


def _basic(credentials: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


GOOD = {name: _basic(f"{name}:{name[::-1]}") for name in FLAGS}
REQUESTS: list[tuple[str, dict[str, str]]] = [
    *((f"/basic/{name}", headers) for name, headers in GOOD.items()),
    *(
        ("/basic", headers)
        for headers in (
            {},
            _basic("md5:wrong"),
            _basic("nobody:5dm"),
            _basic("md5:"),
            _basic(":5dm"),
            _basic("md5"),
            {"Authorization": "Basic"},
            {"Authorization": "Basic !!!!"},
            {"Authorization": "bAsIc " + GOOD["md5"]["Authorization"].partition(" ")[2]},
            {"Authorization": "Basic   " + GOOD["md5"]["Authorization"].partition(" ")[2]},
            {"Authorization": GOOD["md5"]["Authorization"].rstrip("=")},
            {"Authorization": "Bearer " + GOOD["md5"]["Authorization"].partition(" ")[2]},
        )
    ),
    *(
        (site, headers)
        for site in SITES
        if not site.startswith("/basic") and "asked" not in site
        for headers in ({}, GOOD["md5"])
    ),
    *(
        (site, {"X-Want": str(status), "X-User": "root"})
        for site in ("/asked", "/any-asked")
        for status in (200, 202, 204, 301, 302, 401, 403, 404, 500, 503)
    ),
]


async def says_what_is_wanted(peer: Peer) -> None:
    """An authentication service whose status is that in X-Want."""
    while True:
        head = await peer.head()
        status = int(head.partition(b"X-Want: ")[2][:3])
        lines = f'HTTP/1.1 {status} X\r\nX-User: joe\r\nSet-Cookie: s=1\r\nWWW-Authenticate: Bearer realm="it"\r\n'
        await peer.send(f"{lines}Content-Length: 0\r\n\r\n".encode())


def users_file() -> str:
    """Lines of htpasswd, one for each algorithm."""
    lines = (
        subprocess.run(["htpasswd", "-nb", flag, name, name[::-1]], capture_output=True, text=True, check=True).stdout
        for name, flag in FLAGS.items()
    )
    return "\n".join(line.strip() for line in lines) + "\n"


@pytest.fixture(scope="module")
def users() -> str:
    return users_file()


@pytest.fixture
async def app() -> AsyncIterator[Backend]:
    async with backend(echo) as it:
        yield it


@pytest.fixture
async def auth() -> AsyncIterator[Backend]:
    async with backend(says_what_is_wanted) as it:
        yield it


@pytest.fixture
def nginx(tmp_path: Path, users: str, app: Backend, auth: Backend) -> Iterator[int]:
    program = shutil.which("nginx")
    assert program is not None, "this test needs nginx"
    (tmp_path / "users").write_text(users)
    locations = "".join(
        f"location {path} {{ {site.directives.format(users=tmp_path / 'users')}"
        f" proxy_pass http://127.0.0.1:{app.port}; }}\n"
        for path, site in SITES.items()
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    temporary = "".join(
        f"{kind}_temp_path {tmp_path};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port};\n{locations}"
        f"location = /=asked {{ internal; proxy_pass_request_body off; proxy_set_header Content-Length '';"
        f" proxy_pass http://127.0.0.1:{auth.port}/; }}\n}} }}\n"
    )
    process = subprocess.Popen([program, "-e", f"{tmp_path}/error.log", "-c", f"{tmp_path}/nginx.conf"])
    yield port
    process.terminate()
    process.wait(10)


async def ask(port: int, target: str, headers: Mapping[str, str]) -> Answer:
    """One request on a connection of its own, once the port is open."""
    async with asyncio.timeout(10):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{lines}\r\n".encode())
    data = await asyncio.wait_for(reader.read(-1), 10)
    writer.close()
    (answer,), _ = read_answers(data, ("GET",), closed=True)
    return answer


def seen(answer: Answer) -> dict[str, object]:
    """What both must agree on: the answer, and what the endpoint got."""
    realm = [value.partition(b", charset")[0] for value in field_values(answer.head, b"www-authenticate")]
    upstream = {}
    if answer.status == 200:
        upstream = {name: field_values(answer.body, name) for name in (b"authorization", b"x-user")}
    return {
        "status": answer.status,
        "challenge": realm,
        "cookies": field_values(answer.head, b"set-cookie"),
        "upstream": upstream,
    }


async def test_every_guard_decides_as_nginx_does(nginx: int, users: str, app: Backend, auth: Backend) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData:\n  auth: |\n"
    secret += "".join(f"    {line}\n" for line in users.splitlines()) + "---\n"
    text = service_yaml({"app": app.port}) + secret
    for path, site in SITES.items():
        annotations = {name: value.format(auth=auth.port) for name, value in site.annotations.items()}
        text += ingress_yaml(annotations, name=path[1:], path=path)
    differing = []
    async with serving_manifests(text) as edge:
        for target, headers in REQUESTS:
            theirs, ours = seen(await ask(nginx, target, headers)), seen(await ask(edge.port, target, headers))
            if theirs != ours:
                differing.append((target, headers, theirs, ours))
    assert differing == []
    assert len(REQUESTS) > 50
