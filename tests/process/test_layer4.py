"""Services at layer 4, from outside: real programs behind node ports, virtual addresses and external addresses."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.metrics import sample
from tests.support.program import PATIENCE_S, Program, running, until
from tests.support.site import Site
from tests.support.stream_edge import free_port

pytestmark = pytest.mark.xdist_group("layer4")

ENOUGH = 20
"""Connections, so that neither of two workers is left out but by an odd chance."""

NAMED = """
import os, socket, sys, threading
def serve(client):
    client.sendall(sys.argv[2].encode())
    while data := client.recv(65536):
        client.sendall(data)
    client.close()
server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=100)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
"""A server that says its name and then repeats what it is sent."""


@contextlib.contextmanager
def _process(*command: str, ready: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A program, once it has said that it is ready; killed at the end."""
    # Without a buffer of ours: `select` would not see the lines in it.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, bufsize=0) as process:
        try:
            assert process.stdout is not None
            line = b""
            while ready not in line:
                assert select.select([process.stdout], [], [], PATIENCE_S)[0], "it does not become ready"
                line = process.stdout.readline()
                assert line, "it has ended"
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _named(name: str, port: int = 0) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = port or free_port()
    with _process(sys.executable, "-c", NAMED, str(port), name, ready=b"ready") as process:
        yield port, process


def _service(name: str, kind: str, ports: list[dict[str, Any]], *endpoints: int, **more: Any) -> str:
    annotations = {"ingressd.dev/endpoints": ",".join(f"127.0.0.1:{port}" for port in endpoints)}
    annotations |= more.pop("annotations", {})
    metadata = {"name": name, "annotations": annotations}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": kind, "ports": ports, **more}}
    )


def _node_port(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "port": 80, "nodePort": number, **more}]


def _connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((address, port), timeout=PATIENCE_S)


def _name(port: int, address: str = "127.0.0.1") -> str:
    """The name of who answers on a new connection."""
    with _connect(port, address) as client:
        return client.recv(100).decode()


class _World:
    """What the tests share."""

    def __init__(self, program: Program, site: Site) -> None:
        self.program = program
        self.site = site

    def edit(self, file: str, *documents: str) -> Path:
        """Write a file, and wait until it is served."""
        generation = self.program.generation
        path = self.site.write(file, "\n---\n".join(documents))
        self.program.until_served(generation + 1)
        return path

    def row(self, name: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.program.api("services")
        return next(row for row in rows if row["name"] == name)

    def faults(self, name: str) -> list[dict[str, Any]]:
        return [fault for fault in self.program.api("faults") if fault["name"] == name]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_World]:
    folder = tmp_path_factory.mktemp("layer4")
    site = Site(folder / "site")
    arguments = ("--cluster-ips", "--https-port=off", "--drain-timeout=5")
    with running(folder / "log", str(site.folder), *arguments) as program:
        yield _World(program, site)


@pytest.fixture(scope="module")
def one() -> Iterator[int]:
    with _named("one") as (port, _):
        yield port


# Protocols.


def _redis(sock: socket.socket, *words: bytes) -> None:
    sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def test_redis_is_served_through_a_node_port(world: _World) -> None:
    program = shutil.which("redis-server")
    assert program, "redis-server is missing: make test-tools"
    port, node_port, size = free_port(), free_port(), 16 * 1024 * 1024
    command = (program, "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    with _process(*command, ready=b"Ready to accept connections"):
        world.edit("redis.yaml", _service("redis", "NodePort", _node_port(node_port), port))
        with _connect(node_port) as client, client.makefile("rb") as answers:
            _redis(client, b"SET", b"key", b"x" * size)
            assert answers.readline() == b"+OK\r\n"
            _redis(client, b"GET", b"key")
            assert answers.readline() == b"$%d\r\n" % size
            assert answers.read(size + 2) == b"x" * size + b"\r\n"
        with _connect(node_port) as listening, listening.makefile("rb") as news, _connect(node_port) as client:
            _redis(listening, b"SUBSCRIBE", b"topic")
            assert [news.readline() for _ in range(6)][-1] == b":1\r\n"
            _redis(client, b"PUBLISH", b"topic", b"hello")
            assert [news.readline() for _ in range(7)][-1] == b"hello\r\n"


def test_datagrams_are_answered_from_the_address_they_were_sent_to(world: _World) -> None:
    node_port = free_port("UDP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE_S)
        ports = [
            {"name": "main", "port": 5300, "protocol": "UDP", "nodePort": node_port},
        ]
        world.edit("udp.yaml", _service("datagrams", "NodePort", ports, server.getsockname()[1]))
        address = world.row("datagrams")["cluster_ip"]
        for place in (("127.0.0.1", node_port), (address, 5300)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE_S)
                client.connect(place)
                client.send(b"question")
                data, flow = server.recvfrom(100)
                assert data == b"question"
                server.sendto(b"answer", flow)
                assert client.recv(100) == b"answer"


def test_a_client_that_has_finished_sending_still_gets_its_answer(world: _World) -> None:
    node_port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        world.edit("half.yaml", _service("half", "NodePort", _node_port(node_port), server.getsockname()[1]))
        with _connect(node_port) as client:
            client.sendall(b"all of it")
            client.shutdown(socket.SHUT_WR)
            with server.accept()[0] as peer:
                assert peer.makefile("rb").read() == b"all of it"
                peer.sendall(b"the answer")
            assert client.makefile("rb").read() == b"the answer"
    until(lambda: '"service":"half"' in world.program.log, "a line in the access log")
    (line,) = [json.loads(line) for line in world.program.log.splitlines() if '"service":"half"' in line]
    assert (line["kind"], line["protocol"], line["bytes_in"], line["bytes_out"]) == ("stream", "TCP", 9, 10)
    labels = {"namespace": "default", "service": "half", "port": "main", "protocol": "TCP"}
    assert sample(world.program, "ingressd_stream_bytes_out_total", **labels) == 10
    assert sample(world.program, "ingressd_stream_connections_total", **labels) == 1


def test_an_endpoint_learns_the_clients_address_by_the_proxy_protocol(world: _World) -> None:
    node_port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        annotations = {"ingressd.dev/proxy-protocol": "v2"}
        port = server.getsockname()[1]
        world.edit("proxy.yaml", _service("proxy", "NodePort", _node_port(node_port), port, annotations=annotations))
        with socket.create_connection(("127.0.0.1", node_port), PATIENCE_S, source_address=("127.0.0.33", 0)) as client:
            client.sendall(b"hello")
            with server.accept()[0] as peer:
                head = peer.makefile("rb").read(28 + 5)
            number = client.getsockname()[1]
    assert head[:16] == b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    assert head[16:28] == bytes((127, 0, 0, 33, 127, 0, 0, 1)) + struct.pack("!HH", number, node_port)
    assert head[28:] == b"hello"


# What the types open.


def test_each_type_opens_its_ports_and_the_api_shows_them(world: _World, one: int) -> None:
    balanced, external = free_port(), free_port(address="127.0.0.40")
    world.edit(
        "types.yaml",
        _service("balancer", "LoadBalancer", [{"port": balanced}], one),
        _service("outside", "ClusterIP", [{"port": external}], one, externalIPs=["127.0.0.40", "192.0.2.7"]),
    )
    row = world.row("balancer")
    (node_port,) = row["node_ports"]
    assert {(each["address"], each["port"], each["bound"]) for each in row["listeners"]} == {
        ("127.0.0.1", balanced, True),
        ("127.0.0.1", node_port, True),
        (row["cluster_ip"], balanced, True),
    }
    assert [_name(port) for port in (balanced, node_port)] == ["one", "one"]
    assert _name(balanced, row["cluster_ip"]) == "one"
    assert _name(external, "127.0.0.40") == "one"
    assert [fault["code"] for fault in world.faults("outside")] == ["external_ip_unused"]


def test_a_client_stays_with_its_endpoint_whichever_worker_it_meets(world: _World, one: int) -> None:
    node_port = free_port()
    with _named("two") as (two, _):
        service = _service("sticky", "NodePort", _node_port(node_port), one, two, sessionAffinity="ClientIP")
        world.edit("sticky.yaml", service)
        names: dict[str, set[str]] = {}
        for last in range(1, 9):
            source = f"127.0.9.{last}"
            for _ in range(ENOUGH // 2):
                with socket.create_connection(("127.0.0.1", node_port), PATIENCE_S, (source, 0)) as client:
                    names.setdefault(source, set()).add(client.recv(100).decode())
        assert {len(each) for each in names.values()} == {1}
        assert set().union(*names.values()) == {"one", "two"}


# Edits and failures.


def test_edits_open_and_close_ports_while_connections_live_on(world: _World, one: int) -> None:
    steady, moving, later = free_port(), free_port(), free_port()
    with _named("two") as (two, _):
        world.edit(
            "moving.yaml",
            _service("steady", "NodePort", _node_port(steady), one),
            _service("moving", "NodePort", _node_port(moving), one),
        )
        with _connect(steady) as client, _connect(moving) as removed:
            assert [each.recv(100) for each in (client, removed)] == [b"one"] * 2
            world.edit(
                "moving.yaml",
                _service("steady", "NodePort", _node_port(steady), two),
                _service("moving", "NodePort", _node_port(later), one),
            )
            assert {_name(later) for _ in range(ENOUGH)} == {"one"}
            assert {_name(steady) for _ in range(ENOUGH)} == {"two"}
            for _ in range(ENOUGH):
                with pytest.raises(ConnectionRefusedError):
                    _connect(moving)
            world.edit("moving.yaml", _service("steady", "NodePort", _node_port(steady), two))
            for each in (client, removed):
                each.sendall(b"still here")
                assert each.recv(100) == b"still here"


def test_an_endpoint_that_is_killed_is_passed_over(world: _World, one: int) -> None:
    node_port = free_port()
    with _named("two") as (two, process):
        world.edit("killed.yaml", _service("killed", "NodePort", _node_port(node_port), one, two))
        assert {_name(node_port) for _ in range(ENOUGH)} == {"one", "two"}
        clients = [_connect(node_port) for _ in range(ENOUGH)]
        names = [client.recv(100) for client in clients]
        process.send_signal(signal.SIGKILL)
        process.wait()
        for client, name in zip(clients, names, strict=True):
            with client:
                if name == b"two":
                    with contextlib.suppress(ConnectionResetError):
                        assert client.recv(100) == b""
                else:
                    client.sendall(b"still here")
                    assert client.recv(100) == b"still here"
        assert {_name(node_port) for _ in range(ENOUGH)} == {"one"}


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_another_program_has_is_told_with_its_name_and_opened_when_it_is_free(
    world: _World, one: int, shares: bool
) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        node_port, free, name = holder.getsockname()[1], free_port(), f"held-{shares}".lower()
        world.edit(
            "held.yaml",
            _service(name, "NodePort", _node_port(node_port), one),
            _service(f"{name}-beside", "NodePort", _node_port(free), one),
        )
        (fault,) = world.faults(name)
        assert fault["code"] == "port_held"
        assert f"(process {os.getpid()}) has it" in fault["message"]
        assert fault["line"]
        assert [each["bound"] for each in world.row(name)["listeners"] if each["role"] == "nodePort"] == [False]
        assert _name(free) == "one"
    until(lambda: not world.faults(name), "no fault any more")
    until(lambda: _name(node_port) == "one", "the port of the other program")


def test_an_endpoint_at_the_services_own_port_is_used_while_another_program_has_it(world: _World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        node_port = holder.getsockname()[1]
        world.edit("round.yaml", _service("round", "NodePort", _node_port(node_port), node_port))
        assert [each["port"] for each in world.row("round")["pools"][0]["endpoints"]] == [node_port]
    until(lambda: not world.row("round")["pools"][0]["endpoints"], "an endpoint that leads back")
    assert world.row("round")["pools"][0]["problem"] == "round leads to nothing but ingressd itself"


def test_the_programs_own_ports_are_not_for_services(world: _World, one: int) -> None:
    http = world.program.port("http")
    world.edit("own.yaml", _service("own", "LoadBalancer", [{"port": http}], one))
    assert ["--http-port" in fault["message"] for fault in world.faults("own")] == [True]
    assert world.program.get(host="nobody.localhost")[0] == 404


def _replaced(world: _World, role: Callable[[dict[str, Any]], int]) -> None:
    """Kill a process, and wait until another has its place."""
    pid = role(world.program.pids())
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        status = world.program.api("status")
        pids = status["processes"]
        return role(pids) != pid and len(pids["workers"]) == 2 and bool(status["ready"])

    until(back, "another process in its place")


def test_ports_outlive_a_crash_of_the_controller_and_of_a_worker(world: _World, one: int) -> None:
    node_port = free_port()
    world.edit("crash.yaml", _service("crash", "NodePort", _node_port(node_port), one))
    with _connect(node_port) as client:
        assert client.recv(100) == b"one"
        _replaced(world, lambda pids: int(pids["controller"]))
        client.sendall(b"still here")
        assert client.recv(100) == b"still here"
    assert world.faults("crash") == []
    assert {_name(node_port) for _ in range(ENOUGH)} == {"one"}
    _replaced(world, lambda pids: int(pids["workers"][0]))
    assert world.faults("crash") == []
    assert {_name(node_port) for _ in range(ENOUGH)} == {"one"}


def test_many_clients_at_once_lose_no_byte(world: _World, one: int) -> None:
    node_port, size, wrong = free_port(), 1024 * 1024, []
    world.edit("many.yaml", _service("many", "NodePort", _node_port(node_port), one))

    def echo(number: int) -> None:
        sent = bytes([number]) * size
        with _connect(node_port) as client, client.makefile("rb") as answer:
            threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
            if answer.read(3 + size) != b"one" + sent:
                wrong.append(number)

    threads = [threading.Thread(target=echo, args=(number,)) for number in range(ENOUGH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert wrong == []
