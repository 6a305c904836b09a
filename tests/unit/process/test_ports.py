"""Ports that another program has are kept from the workers, told, and given to them when they are free."""

from __future__ import annotations

import errno
import resource
import socket

import pytest

from ingressd.compile.compilation import Compilation
from ingressd.process import ports as module
from ingressd.process.ports import Ports, cluster_listeners
from ingressd.table.stream import UDP
from tests.support.stream_edge import free_port
from tests.unit.compile.manifests import codes, compiled, service

NOBODY = 0


def _compilation(*ports: int, protocol: str = "TCP") -> Compilation:
    return compiled(
        *(
            service(f"s{number}", type="NodePort", ports=[{"port": 80, "nodePort": port, "protocol": protocol}])
            for number, port in enumerate(ports)
        ),
        discovery="off",
    )


def _key(port: int, protocol: str = "tcp") -> str:
    return f"{protocol}://0.0.0.0:{port}"


def test_a_port_of_another_program_is_withheld_until_it_is_free() -> None:
    free, ports = free_port(), Ports(NOBODY)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        compilation = _compilation(taken, free)
        wanted = compilation.snapshot.streams
        assert ports.look(wanted, {})
        judged = ports.judged(compilation)
        assert [*judged.snapshot.streams] == [_key(free)]
        assert codes(judged) == ["port_held"]
        assert ports.troubled
        assert not ports.look(wanted, judged.snapshot.streams)
    assert ports.look(wanted, judged.snapshot.streams)
    assert ports.judged(compilation) is compilation
    assert not ports.troubled


def test_a_program_that_would_share_its_port_does_not_get_ours() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        compilation = _compilation(other.getsockname()[1])
        ports = Ports(NOBODY)
        assert ports.look(compilation.snapshot.streams, {})
        assert not ports.judged(compilation).snapshot.streams


def test_datagram_ports_are_looked_at_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        compilation = _compilation(other.getsockname()[1], protocol=UDP)
        ports = Ports(NOBODY)
        ports.look(compilation.snapshot.streams, {})
        assert codes(ports.judged(compilation)) == ["port_held"]


def test_what_is_published_already_is_the_workers_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        wanted = _compilation(own.getsockname()[1]).snapshot.streams
        assert not Ports(NOBODY).look(wanted, wanted)


def test_what_a_worker_could_not_open_is_told_until_it_could() -> None:
    port = free_port()
    compilation = _compilation(port)
    ports = Ports(NOBODY)
    ports.look(compilation.snapshot.streams, {})
    assert not ports.report(0, {})
    assert ports.report(0, {_key(port): errno.EMFILE})
    assert not ports.report(0, {_key(port): errno.EMFILE})
    assert ports.look(compilation.snapshot.streams, compilation.snapshot.streams)
    judged = ports.judged(compilation)
    assert codes(judged) == ["port_unavailable"]
    assert [*judged.snapshot.streams] == [_key(port)]
    assert ports.report(0, {})
    assert ports.look(compilation.snapshot.streams, compilation.snapshot.streams)
    assert ports.judged(compilation) is compilation


def test_who_has_a_port_that_a_worker_could_not_open_is_found_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        compilation = _compilation(port)
        ports = Ports(NOBODY)
        ports.report(1, {_key(port): errno.EADDRINUSE})
        ports.look(compilation.snapshot.streams, compilation.snapshot.streams)
        (fault,) = ports.judged(compilation).faults
        assert fault.code == "port_held"
        assert "(process " in fault.message


def test_a_part_of_the_descriptors_is_for_virtual_addresses() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, before[1]))
    try:
        assert cluster_listeners() == 800
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_of_very_many_ports_each_has_its_turn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "AGAIN", 2)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(12)]
    wanted = _compilation(*(sock.getsockname()[1] for sock in sockets)).snapshot.streams
    ports = Ports(NOBODY)
    assert ports.look(wanted, {})
    assert caplog.messages[-1] == "and so it is with 2 more ports"
    for sock in sockets:
        sock.close()
    for _ in range(len(sockets) // 2):
        assert ports.troubled
        assert ports.look(wanted, {})
    assert not ports.troubled
