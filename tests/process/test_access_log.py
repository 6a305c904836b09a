"""The access log of the whole program: one line for each request, whatever ended it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import site as manifests
from tests.support.app import BLOCK, App, app
from tests.support.program import PATIENCE_S, Program, running, until
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("access-log")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
REQUEST_ID = re.compile(r"[0-9a-f]{32}")


class World:
    """A program that logs into a file, and an application."""

    def __init__(self, program: Program, behind: App, log: Path) -> None:
        self.program = program
        self.app = behind
        self.log = log

    def send(self, request: bytes, *, end: bytes | None = None) -> bytes:
        """All that comes for these bytes, until `end` or until the proxy closes the connection."""
        with socket.create_connection(("127.0.0.1", self.program.port("http")), timeout=PATIENCE_S) as client:
            client.sendall(request)
            answer = b""
            while end is None or end not in answer:
                data = client.recv(65536)
                if not data:
                    break
                answer += data
            return answer

    def lines(self, mark: str, count: int = 1) -> list[str]:
        """The lines with `mark` in them, of which there must be exactly so many."""

        def found() -> list[str]:
            return [line for line in self.log.read_text().splitlines() if mark in line]

        until(lambda: len(found()) >= count, f"{count} lines with {mark}")
        assert len(found()) == count
        return found()

    def entry(self, mark: str) -> dict[str, Any]:
        (line,) = self.lines(mark)
        entry: dict[str, Any] = json.loads(line)
        return entry


def _site(folder: Path, behind: App) -> Site:
    site = Site(folder / "site")
    site.route("a.localhost", behind)
    site.write("empty.yaml", manifests.ingress("empty", "empty.localhost") + "---\n" + manifests.service("empty", 1))
    return site


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    log = folder / "access.log"
    with app("the app") as behind:
        site = _site(folder, behind)
        with running(folder / "log", str(site.folder), f"--access-log={log}", "--limit=read_gap_s=2") as program:
            yield World(program, behind, log)


def test_a_request_that_was_answered(world: World) -> None:
    world.send(
        b"POST /any?mark=answered HTTP/1.1\r\nHost: A.localhost:80\r\nUser-Agent: me/1\r\nReferer: http://b/\r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\nabc"
    )
    entry = world.entry("mark=answered")
    assert TIME.fullmatch(entry.pop("time"))
    assert REQUEST_ID.fullmatch(entry.pop("request_id"))
    assert entry.pop("client_port") > 0
    assert 0 < entry.pop("upstream_ms") <= entry.pop("duration_ms")
    assert entry == {
        "client": "127.0.0.1",
        "scheme": "http",
        "method": "POST",
        "host": "a.localhost",
        "target": "/any?mark=answered",
        "version": "HTTP/1.1",
        "status": 200,
        "reason": "",
        "route": "default/site a.localhost / Prefix",
        "namespace": "default",
        "ingress": "site",
        "service": "site",
        "bytes_in": 3,
        "bytes_out": len("the app"),
        "upstream": f"127.0.0.1:{world.app.port}",
        "upstream_status": 200,
        "attempts": 1,
        "user": "",
        "user_agent": "me/1",
        "referer": "http://b/",
    }


def test_a_request_without_a_route(world: World) -> None:
    answer = world.send(b"GET /?mark=unrouted HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n")
    entry = world.entry("mark=unrouted")
    assert (entry["status"], entry["reason"], entry["route"], entry["upstream"]) == (404, "no_route", "", "")
    assert (entry["attempts"], entry["upstream_ms"]) == (0, None)
    assert entry["bytes_out"] == len(answer.partition(b"\r\n\r\n")[2])


def test_a_service_without_endpoints(world: World) -> None:
    world.send(b"GET /?mark=empty HTTP/1.1\r\nHost: empty.localhost\r\nConnection: close\r\n\r\n")
    entry = world.entry("mark=empty")
    assert (entry["status"], entry["reason"], entry["service"]) == (503, "no_endpoints", "empty")


def test_an_endpoint_that_is_silent(world: World) -> None:
    world.send(b"GET /silent?mark=silent HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n")
    entry = world.entry("mark=silent")
    assert (entry["status"], entry["reason"], entry["upstream_status"]) == (504, "upstream_timeout", 0)


def test_a_head_that_cannot_be_read(world: World) -> None:
    world.send(b"GET /?mark=\x00broken HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
    (line,) = world.lines('"reason":"bad_request"')
    entry = json.loads(line)
    assert (entry["status"], entry["method"], entry["target"], entry["client"]) == (400, "", "", "127.0.0.1")


def test_a_client_that_went_away(world: World) -> None:
    request = b"GET /download?blocks=4096&mark=gone HTTP/1.1\r\nHost: a.localhost\r\n\r\n"
    world.send(request, end=BLOCK[:256])
    entry = world.entry("mark=gone")
    assert (entry["status"], entry["reason"]) == (200, "client_abort")
    assert 0 < entry["bytes_out"] < 4096 * len(BLOCK)


def test_what_a_client_writes_stays_in_its_line(world: World) -> None:
    agent = 'x"} {"status":200 \\ \xff mark=agent'
    world.send(
        f"GET / HTTP/1.1\r\nHost: a.localhost\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n".encode("latin-1")
    )
    assert world.entry("mark=agent")["user_agent"] == agent


def test_pipelined_requests_have_a_line_each(world: World) -> None:
    request = b"GET /?mark=piped HTTP/1.1\r\nHost: a.localhost\r\n\r\n"
    last = b"GET /?mark=piped HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n"
    assert world.send(request * 9 + last).count(b"the app") == 10
    entries = [json.loads(line) for line in world.lines("mark=piped", 10)]
    assert len({entry["request_id"] for entry in entries}) == 10
    assert len({entry["client_port"] for entry in entries}) == 1


def test_the_format_of_ingress_nginx(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with app("the app") as behind:
        site = _site(tmp_path, behind)
        options = (f"--access-log={log}", "--access-log-format=nginx", "--workers=1")
        with running(tmp_path / "log", str(site.folder), *options) as program:
            world = World(program, behind, log)
            world.send(
                b'POST /a?mark=1 HTTP/1.1\r\nHost: a.localhost\r\nUser-Agent: a "b"\r\nContent-Length: 3\r\n'
                b"Connection: close\r\n\r\nabc"
            )
            (line,) = world.lines("mark=1")
            pattern = (
                r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
                r' "POST /a\?mark=1 HTTP/1\.1" 200 7 "-" "a \\x22b\\x22" 3 \d+\.\d{3} \[default-site-80\] \[\]'
                rf" 127\.0\.0\.1:{behind.port} 7 \d+\.\d{{3}} 200 [0-9a-f]{{32}}"
            )
            assert re.fullmatch(pattern, line), line
            world.send(b"GET /?mark=2 HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n")
            (line,) = world.lines("mark=2")
            assert re.search(r'" 404 \d+ "-" "-" 0 \d+\.\d{3} \[\] \[\] - - - - [0-9a-f]{32}$', line), line


def test_standard_output_has_whole_lines_of_all_workers(tmp_path: Path) -> None:
    with app("the app") as behind:
        site = _site(tmp_path, behind)
        with running(tmp_path / "log", str(site.folder)) as program:
            for number in range(60):
                program.get(f"/?n={number}")
            until(lambda: program.log.count('"target":"/?n=') >= 60, "all lines")
            entries = [json.loads(line) for line in program.log.splitlines() if line.startswith("{")]
    assert sorted(entry["target"] for entry in entries) == sorted(f"/?n={number}" for number in range(60))
