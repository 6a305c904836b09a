"""The accept loop: pauses, rests without descriptors, stops; on both event loops."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

import pytest

from ingressd.listener import plain
from ingressd.listener.gate import Admission, Gate
from ingressd.listener.plain import AcceptLoop, Descriptor, PlainAcceptor, tune, unsent_bytes
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits
from tests.support.loops import on_both_loops


class Taken:
    """Collects accepted sockets."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        assert sock.getpeername() == peer
        self.sockets.append(sock)
        task = asyncio.get_running_loop().create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def count(self, count: int) -> None:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: len(self.sockets) >= count), 10)


@contextmanager
def accepting() -> Iterator[tuple[AcceptLoop, socket.socket, Taken, list[socket.socket]]]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=256)
    sock.setblocking(False)
    taken = Taken()
    clients: list[socket.socket] = []
    loop = AcceptLoop(asyncio.get_running_loop(), sock, taken, lambda: b"too busy", WorkerStats())
    loop.start()
    try:
        yield loop, sock, taken, clients
    finally:
        loop.stop()
        for each in (*taken.sockets, *clients):
            each.close()


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """The next descriptor that this process asks for is refused."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def turns(count: int = 20) -> None:
    """Let the loop look at its sockets this many times."""
    for _ in range(count):
        await asyncio.sleep(0)


@on_both_loops
async def test_connections_are_accepted_non_blocking_and_not_inherited() -> None:
    with accepting() as (_, sock, taken, clients):
        clients.extend(socket.create_connection(sock.getsockname()) for _ in range(200))
        await taken.count(200)
        assert {each.getpeername() for each in taken.sockets} == {each.getsockname() for each in clients}
        assert not any(each.getblocking() or each.get_inheritable() for each in taken.sockets)


@on_both_loops
async def test_a_paused_loop_leaves_connections_in_the_backlog_until_it_resumes() -> None:
    with accepting() as (loop, sock, taken, clients):
        loop.pause()
        clients.append(socket.create_connection(sock.getsockname()))
        await turns()
        assert not taken.sockets
        loop.resume()
        await taken.count(1)


@on_both_loops
async def test_a_pause_takes_hold_in_the_middle_of_a_batch() -> None:
    with accepting() as (loop, sock, taken, clients):
        clients.extend(socket.create_connection(sock.getsockname()) for _ in range(5))
        loop._accepted = lambda *connection: (taken(*connection), loop.pause())
        await taken.count(1)
        await turns()
        assert len(taken.sockets) == 1


@on_both_loops
async def test_without_descriptors_it_tells_one_client_at_a_time_says_so_once_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "_REST_S", 0.01)
    with accepting() as (loop, sock, taken, clients):
        clients.extend(socket.create_connection(sock.getsockname()) for _ in range(20))
        with no_descriptors_left():
            while loop._stats.connections_refused_total < 3:  # the listening socket is readable all the time
                await asyncio.sleep(0.001)
            assert not taken.sockets
        refused = loop._stats.connections_refused_total
        assert loop._stats.accept_pauses_total == refused
        await taken.count(20 - refused)
        for client in clients[:refused]:  # accepted in the order in which they came
            client.setblocking(True)
            assert client.recv(100) == b"too busy"
            assert client.recv(100) == b""
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept connections: Too many open files (raise the limit: ulimit -n, LimitNOFILE=)"
    ]


@on_both_loops
async def test_a_stopped_loop_refuses_clients_even_from_its_rest() -> None:
    with accepting() as (loop, sock, taken, clients):
        address = sock.getsockname()
        clients.append(socket.create_connection(address))
        with no_descriptors_left():
            while loop._rest is None:
                await asyncio.sleep(0)
        loop.stop()
        loop.resume()
        await turns()
        assert not taken.sockets
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


@on_both_loops
async def test_connections_inherit_what_the_listening_socket_was_tuned_to() -> None:
    with accepting() as (_, sock, taken, clients):
        tune(sock, Limits(response_write_gap_s=7.5))
        clients.append(socket.create_connection(sock.getsockname()))
        await taken.count(1)
        (connection,) = taken.sockets
        options = {
            name: connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
        assert options == {
            "TCP_NODELAY": 1,
            "TCP_KEEPIDLE": 30,
            "TCP_KEEPINTVL": 10,
            "TCP_KEEPCNT": 3,
            "TCP_USER_TIMEOUT": 37_500,
        }
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_what_the_peer_has_not_got_yet_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
        with sender, receiver:
            assert unsent_bytes(sender) == 0
            sender.setblocking(False)
            sent = 0
            with suppress(BlockingIOError):
                while True:
                    sent += sender.send(bytes(65536))
            before = unsent_bytes(sender)
            assert 0 < before < sent
            received = 0
            while received < sent:
                received += len(receiver.recv(65536))
            while unsent_bytes(sender):  # the last acknowledgement is under way
                pass
        assert unsent_bytes(sender) == 0


class Served(asyncio.Protocol):
    """Says one word, closes, and gives its place back."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast(asyncio.Transport, transport)
        connection.write(b"%s:%d" % (self._admission.address.encode(), self._admission.port))
        connection.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._admission.end()


@contextmanager
def acceptor(
    factory: Callable[[Admission], asyncio.BaseProtocol], limits: Limits | None = None
) -> Iterator[tuple[PlainAcceptor, Gate, tuple[str, int]]]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=256)
    sock.setblocking(False)
    limits, stats = limits or Limits(), WorkerStats()
    gate = Gate(limits, stats)
    it = PlainAcceptor(asyncio.get_running_loop(), sock, factory, limits, gate, stats)
    it.start()
    try:
        yield it, gate, sock.getsockname()
    finally:
        it.stop()


def open_sockets() -> int:
    """Sockets that this process has open; the event loops open what else they need when they first need it."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


async def asked(address: tuple[str, int]) -> bytes:
    """What a client is told until its connection ends; a reset ends it, too."""
    reader, writer = await asyncio.open_connection(*address)
    own = b"%s:%d" % (b"127.0.0.1", writer.get_extra_info("sockname")[1])
    said = b""
    with suppress(ConnectionResetError):
        said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    with suppress(ConnectionResetError):
        await writer.wait_closed()
    return said.replace(own, b"itself")


@on_both_loops
async def test_each_connection_gets_a_protocol_and_leaves_no_descriptor_behind() -> None:
    with acceptor(Served) as (_, gate, address):
        before = open_sockets()
        for _ in range(3):
            assert await asyncio.gather(*(asked(address) for _ in range(50))) == [b"itself"] * 50
        await asyncio.wait_for(gate.empty.wait(), 10)
        await turns()
        assert open_sockets() == before


@on_both_loops
async def test_a_client_that_has_enough_is_closed_and_leaves_no_descriptor_behind() -> None:
    with acceptor(Served, Limits(connections_per_client=1)) as (_, gate, address):
        before = open_sockets()
        held = gate.admit(("127.0.0.1", 1))
        assert held is not None
        assert await asked(address) == b""
        held.end()
        assert await asked(address) == b"itself"
        await asyncio.wait_for(gate.empty.wait(), 10)
        await turns()
        assert open_sockets() == before


@on_both_loops
async def test_a_connection_that_no_protocol_takes_gives_its_place_back() -> None:
    def refuse(_: Admission) -> asyncio.BaseProtocol:
        raise RuntimeError("none")

    with acceptor(refuse) as (_, gate, address):
        before = open_sockets()
        assert await asked(address) == b""
        assert gate.count == 0
        await turns()
        assert open_sockets() == before


@on_both_loops
async def test_cut_ends_what_no_protocol_has_yet() -> None:
    made: list[Admission] = []

    def factory(admission: Admission) -> Served:
        made.append(admission)
        asyncio.get_running_loop().call_soon(it.cut)  # before the loop hands the transport over
        return Served(admission)

    with acceptor(factory) as (it, gate, address):
        before = open_sockets()
        assert await asked(address) in (b"", b"itself")
        await asyncio.wait_for(gate.empty.wait(), 10)
        await turns()
        assert len(made) == 1
        assert not it._opening
        assert open_sockets() == before


def test_a_descriptor_that_the_loop_has_closed_is_not_closed_again() -> None:
    number = os.dup(0)
    it = Descriptor(socket.AF_INET, number)
    assert (it.fileno(), it.family, it.type) == (number, socket.AF_INET, socket.SOCK_STREAM)
    it.close()
    it.discard()
    os.close(number)  # raises when it is closed already
    other = Descriptor(socket.AF_INET, os.dup(0))
    number = other.fileno()
    other.discard()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
