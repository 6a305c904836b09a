"""Under load: edits of everything while wrk keeps 64 connections busy, and nobody notices."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.support import site as manifests
from tests.support.app import BLOCK, App, app
from tests.support.certificates import issue
from tests.support.program import PATIENCE_S, Program, running, until
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("load")

EDITS = 50
CONNECTIONS = 64
LIVE = 3
"""Endpoints that answer, of which edits name some at a time."""
AT_LEAST = 20 * EDITS
"""Requests, so that each edit had some in flight."""


@contextmanager
def nginx(folder: Path, count: int) -> Iterator[list[int]]:
    """nginx on `count` ports, which is never what the others wait for."""
    path = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert path is not None, "nginx is missing: run `make test-tools`"
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    servers = "\n".join(f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}' for port in ports)
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{ worker_connections 4096; }}\nhttp {{ access_log off;\n{temporary}\n{servers}\n}}\n"
    )
    process = subprocess.Popen([path, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", f"{folder}/start.log"])
    try:
        for port in ports:
            until(lambda port=port: _answers(port), "nginx")
        yield ports
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE_S)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read() == b"ok"
    finally:
        connection.close()


class World:
    """The program in front of nginx and an application, and the folder that is edited."""

    def __init__(self, program: Program, site: Site, behind: App, ports: list[int]) -> None:
        self.program = program
        self.site = site
        self.app = behind
        self.ports = ports

    def load(self, *ports: int) -> None:
        """The endpoints of what wrk asks for."""
        self.site.write("load.yaml", manifests.routed("load", "load.localhost", *ports))

    def edit(self, number: int) -> None:
        """One of five kinds of edits."""
        match number % 5:
            case 0:
                self.load(*(port for at, port in enumerate(self.ports) if at != number // 5 % LIVE))
            case 1:
                self.load(*self.ports)
            case 2:
                self.site.write("pair.yaml", manifests.secret("pair", issue("tls.localhost")))
            case 3:
                self.site.route(f"n{number}.localhost", self.app, "other.yaml")
            case 4:
                text = manifests.routed("load", "load.localhost", *self.ports)
                self.site.write("load.yaml", text.replace("path: /", f"path: /\n            # {number}"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("load")
    site = Site(folder / "site")
    with app("the app") as behind, nginx(folder, LIVE) as ports:
        site.write("tls.yaml", manifests.routed("tls", "tls.localhost", behind.port, secret="pair"))
        site.write("pair.yaml", manifests.secret("pair", issue("tls.localhost")))
        site.route("a.localhost", behind)
        site.write("load.yaml", manifests.routed("load", "load.localhost", *ports))
        with running(
            folder / "log", str(site.folder), "--https-port=0", f"--access-log={folder}/access.log"
        ) as program:
            yield World(program, site, behind, ports)


class Wrk:
    """wrk, until it is told to stop."""

    def __init__(self, port: int) -> None:
        path = shutil.which("wrk")
        assert path is not None, "wrk is missing: run `make test-tools`"
        options = ["-t", "1", "-c", str(CONNECTIONS), "-d", "110s", "--timeout", "30s", "-H", "Host: load.localhost"]
        self._process = subprocess.Popen(
            [path, *options, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> str:
        """Its report."""
        self._process.send_signal(signal.SIGINT)
        report, _ = self._process.communicate(timeout=PATIENCE_S)
        assert self._process.returncode == 0, report
        return report

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class KeptConnections:
    """Connections that were open before, and are asked again afterwards."""

    def __init__(self, port: int, count: int) -> None:
        self._connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S) for _ in range(count)]
        self.ask()
        self._sockets = [connection.sock for connection in self._connections]

    def ask(self) -> None:
        for connection in self._connections:
            connection.request("GET", "/", headers={"Host": "a.localhost"})
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"the app")

    def close(self) -> None:
        assert [connection.sock for connection in self._connections] == self._sockets
        for connection in self._connections:
            connection.close()


def test_fifty_edits_under_load_fail_no_request_and_break_no_connection(world: World) -> None:
    program = world.program
    port = program.port("http")
    before = program.generation
    kept = KeptConnections(port, 8)
    blocks = 1024
    download = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    download.request("GET", f"/download?blocks={blocks}", headers={"Host": "a.localhost"})
    body = download.getresponse()
    digest = hashlib.sha256(body.read(len(BLOCK)))
    place = f"ws://a.localhost:{port}/ws"
    with connect(place, sock=_connected(port), proxy=None, ping_interval=None) as websocket:
        websocket.send("before")
        assert websocket.recv(PATIENCE_S) == "before"
        wrk = Wrk(port)
        try:
            for number in range(EDITS):
                world.edit(number)
                program.until_served(before + number + 1)
                digest.update(body.read(len(BLOCK)))
            report = wrk.stop()
        finally:
            wrk.kill()
        websocket.send("after")
        assert websocket.recv(PATIENCE_S) == "after"
    kept.ask()
    kept.close()
    while data := body.read(len(BLOCK)):
        digest.update(data)
    download.close()
    assert digest.digest() == hashlib.sha256(BLOCK * blocks).digest()
    assert "Socket errors" not in report, report
    assert "Non-2xx" not in report, report
    asked = int(re.search(r"(\d+) requests in", report)[1])  # type: ignore[index]
    assert asked >= AT_LEAST, report
    assert program.generation == before + EDITS
    assert {reload["faults"] for reload in program.api("reloads")} == {0}


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def test_requests_in_flight_on_a_removed_endpoint_end_well(world: World) -> None:
    with app("leaving") as leaving:
        world.site.route("flight.localhost", leaving, "flight.yaml")
        world.program.until_answers((200, "leaving"), host="flight.localhost")
        answers: list[tuple[int, str]] = []
        asking = threading.Thread(target=lambda: answers.append(world.program.get("/slow", "flight.localhost")))
        asking.start()
        assert leaving.entered.wait(PATIENCE_S)
        world.site.route("flight.localhost", world.app, "flight.yaml")
        world.program.until_answers((200, "the app"), host="flight.localhost")
        for _ in range(20):
            assert world.program.get(host="flight.localhost") == (200, "the app")
        assert answers == []
        leaving.release()
        asking.join()
        assert answers == [(200, "leaving")]


def test_a_stream_of_a_removed_service_goes_on(world: World) -> None:
    path = world.site.route("stream.localhost", world.app, "stream.yaml")
    world.program.until_answers((200, "the app"), host="stream.localhost")
    world.app.publish("first")
    connection = http.client.HTTPConnection("127.0.0.1", world.program.port("http"), timeout=PATIENCE_S)
    connection.request("GET", "/events", headers={"Host": "stream.localhost"})
    response = connection.getresponse()
    assert response.readline() == b"data: first\n"
    path.unlink()
    until(lambda: world.program.get(host="stream.localhost")[0] == 404, "the route to end")
    world.app.publish("second")
    world.app.publish(None)
    assert response.read() == b"\ndata: second\n\n"
    connection.close()


def test_a_websocket_of_a_removed_service_goes_on(world: World) -> None:
    path = world.site.route("tunnel.localhost", world.app, "tunnel.yaml")
    world.program.until_answers((200, "the app"), host="tunnel.localhost")
    port = world.program.port("http")
    with connect(f"ws://tunnel.localhost:{port}/ws", sock=_connected(port), proxy=None) as websocket:
        path.unlink()
        until(lambda: world.program.get(host="tunnel.localhost")[0] == 404, "the route to end")
        websocket.send("still here")
        assert websocket.recv(PATIENCE_S) == "still here"


def test_a_killed_worker_costs_no_more_than_what_it_had_in_hand(world: World) -> None:
    stop = threading.Event()
    answers: list[tuple[int, str]] = []
    lost: list[OSError] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(world.program.get())
            except OSError as problem:
                lost.append(problem)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    killed = world.program.pids()["workers"][0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in (now := world.program.pids()["workers"]) and len(now) == 2, "a replacement")
    until(lambda: world.program.api("status")["workers"] == 2, "two serving workers")
    stop.set()
    for thread in asking:
        thread.join()
    assert set(answers) == {(200, "the app")}
    # Who was not yet accepted waits for the next worker: the supervisor keeps the sockets.
    assert len(lost) <= len(asking), lost


def test_the_log_is_whole_when_it_is_rotated_under_load(world: World, tmp_path: Path) -> None:
    log = world.site.folder.parent / "access.log"
    asked = 400
    number_of = re.compile(r'"target":"/rotated\?n=(\d+)"')

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", world.program.port("http"), timeout=PATIENCE_S)
        for number in range(first, asked, 4):
            connection.request("GET", f"/rotated?n={number}", headers={"Host": "a.localhost"})
            assert connection.getresponse().read() == b"the app"
        connection.close()

    askers = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for asker in askers:
        asker.start()
    rotated = []
    for number in range(5):
        rotated.append(log.rename(tmp_path / f"access.log.{number}"))
        world.program.signal(signal.SIGUSR1)
        until(log.exists, "the new log")
    for asker in askers:
        asker.join()

    def logged() -> list[int]:
        text = "".join(path.read_text() for path in (*rotated, log))
        return sorted(int(number) for number in number_of.findall(text))

    until(lambda: len(logged()) >= asked, "all lines")
    assert logged() == list(range(asked))
    for path in (*rotated, log):
        assert all(line.startswith('{"time":') and line.endswith("}") for line in path.read_text().splitlines())
