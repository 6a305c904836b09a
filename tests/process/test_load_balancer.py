"""Behind a real load balancer that speaks the PROXY protocol: HAProxy, in front of the whole program."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.metrics import sample
from tests.support.program import PATIENCE_S, Program, running, start, until
from tests.support.site import Site
from tests.support.stream_edge import free_port

BALANCER, CLIENT = "127.0.0.1", "127.0.0.3"
CONFIGURATION = """
global
    maxconn 200
defaults
    mode tcp
    timeout connect 10s
    timeout client 30s
    timeout server 30s
listen version-2
    bind 127.0.0.1:{version_2}
    option httpchk GET /check
    http-check send hdr Host a.localhost
    server ingressd 127.0.0.1:{http} send-proxy-v2 check inter 100ms
listen version-1
    bind 127.0.0.1:{version_1}
    server ingressd 127.0.0.1:{http} send-proxy
listen tls
    bind 127.0.0.1:{tls}
    server ingressd 127.0.0.1:{https} send-proxy-v2
"""


class _Told(http.server.BaseHTTPRequestHandler):
    """Answers with what it is told of the client."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        names = ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Port", "X-Forwarded-Proto")
        body = json.dumps({name: self.headers[name] for name in names}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class _Backend:
    port: int


@dataclass
class _World:
    """The program, and the ports of the load balancer in front of it."""

    program: Program
    ports: dict[str, int]

    def logged(self, path: str) -> list[dict[str, Any]]:
        """Lines of the access log about this path."""
        lines = [json.loads(line) for line in self.program.log.splitlines() if line.startswith('{"time":')]
        return [line for line in lines if line["target"] == path]


@contextlib.contextmanager
def _backend() -> Iterator[_Backend]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Told)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield _Backend(int(server.server_address[1]))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _balancer(folder: Path, ports: dict[str, int]) -> Iterator[None]:
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert haproxy, "haproxy is missing: make test-tools"
    configuration = folder / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(**ports))
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([haproxy, "-db", "-f", str(configuration)], stdout=log, stderr=log)
    try:
        for name in ("version_1", "version_2", "tls"):
            until(lambda name=name: not socket.create_connection((BALANCER, ports[name])).close(), f"HAProxy's {name}")
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_World]:
    folder = tmp_path_factory.mktemp("balancer")
    site = Site(folder / "site")
    ports = {"version_1": free_port(), "version_2": free_port(), "tls": free_port()}
    arguments = ("--https-port=0", "--proxy-protocol=on", f"--trusted-proxies={BALANCER}")
    with _backend() as backend:
        site.route("a.localhost", backend)
        with running(folder / "log", str(site.folder), *arguments) as program:
            ports |= {name: program.port(name) for name in ("http", "https")}
            with _balancer(folder, ports):
                yield _World(program, ports)


def told(port: int, *, tls: bool = False, path: str = "/", source: str = CLIENT, **headers: str) -> dict[str, str]:
    """What the backend is told of a client at `source`."""
    connection: http.client.HTTPConnection
    where: dict[str, Any] = {"timeout": PATIENCE_S, "source_address": (source, 0)}
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, **where)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, **where)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": "a.localhost", **headers})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        answer: dict[str, str] = json.loads(body)
        return answer


@pytest.mark.parametrize(
    ("balancer", "scheme"), [("version_1", "http"), ("version_2", "http"), ("tls", "https")], ids=lambda value: value
)
def test_the_backend_is_told_the_address_of_the_client_and_the_port_of_the_balancer(
    world: _World, balancer: str, scheme: str
) -> None:
    port = world.ports[balancer]
    path = f"/{balancer}"
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "gopher", "X-Real-IP": "203.0.113.9"}
    assert told(port, tls=scheme == "https", path=path, **forged) == {
        "X-Forwarded-For": CLIENT,
        "X-Real-IP": CLIENT,
        "X-Forwarded-Port": str(port),
        "X-Forwarded-Proto": scheme,
    }
    (line,) = until(lambda: world.logged(path), f"the line about {path}")
    assert (line["client"], line["scheme"]) == (CLIENT, scheme)


def test_health_checks_of_the_balancer_are_its_own_requests(world: _World) -> None:
    line = until(lambda: world.logged("/check"), "a health check of HAProxy")[0]
    assert (line["client"], line["status"]) == (BALANCER, 200)


def test_past_the_balancer_everybody_else_is_served_as_itself(world: _World) -> None:
    assert told(world.ports["http"])["X-Forwarded-For"] == CLIENT
    assert told(world.ports["https"], tls=True)["X-Forwarded-For"] == CLIENT


def test_a_balancer_that_sends_no_header_is_refused_counted_and_said(world: _World) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        told(world.ports["http"], source=BALANCER)

    missed = "ingressd_proxy_headers_missed_total"
    until(lambda: sample(world.program, missed) >= 1, "the count of connections without a header")
    assert f"{BALANCER} is one of --trusted-proxies, and its connection has no PROXY header" in world.program.said


def test_without_a_balancer_to_trust_it_does_not_start(tmp_path: Path) -> None:
    program = start(tmp_path / "log", str(tmp_path), "--proxy-protocol=on")
    assert program.wait() != 0
    assert program.log == (
        "ingressd: --proxy-protocol on: name the load balancers whose word is taken with --trusted-proxies CIDR,..."
        " (whoever else sends such a header could be anybody)\n"
    )
