"""Introductions: what is taken off a socket, whose header counts, and what is said of a proxy that sends none."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from ingressd.errors import StartupError
from ingressd.listener.gate import Admission, Gate
from ingressd.listener.introductions import Introduced, Introductions, check
from ingressd.listener.proxy_protocol import encode
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits, Settings
from tests.support.loops import on_both_loops

PROXY = "10.0.0.1"
CLIENT = ("192.0.2.1", 56324)
LOCAL = ("198.51.100.7", 443)
VERSION_1 = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
VERSION_2 = encode(CLIENT, LOCAL)
SETTINGS = Settings(proxy_protocol="on", trusted_proxies=("10.0.0.0/8", "fd00::/8"))


@dataclass
class Met:
    """A proxy's connection, both ends."""

    introductions: Introductions
    stats: WorkerStats
    gate: Gate
    ours: socket.socket
    theirs: socket.socket
    admission: Admission

    async def introduce(self, seconds: float = 10.0) -> Introduced | None:
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.introductions.introduce(self.ours, self.admission, deadline)


@contextmanager
def met(limits: Limits | None = None) -> Iterator[Met]:
    stats = WorkerStats()
    gate = Gate(limits or Limits(), stats)
    admission = gate.admit((PROXY, 4000))
    assert admission is not None
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield Met(Introductions(asyncio.get_running_loop(), SETTINGS, stats), stats, gate, ours, theirs, admission)


async def taken(sock: socket.socket) -> None:
    """Return once there is nothing left to read."""
    async with asyncio.timeout(10):
        with suppress(BlockingIOError):
            while sock.recv(1, socket.MSG_PEEK):
                await asyncio.sleep(0)


def test_without_anybody_to_trust_it_does_not_start() -> None:
    with pytest.raises(StartupError, match="--trusted-proxies"):
        check(Settings(proxy_protocol="on"))
    check(Settings(proxy_protocol="on", trusted_proxies=("10.0.0.0/8",)))
    check(Settings())


@on_both_loops
async def test_it_is_due_of_trusted_proxies_alone() -> None:
    introductions = Introductions(asyncio.get_running_loop(), SETTINGS, WorkerStats())
    gate = Gate(Limits(), WorkerStats())
    for address, due in (
        ("10.255.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("fd00::1", True),
        ("11.0.0.1", False),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
    ):
        admission = gate.admit((address, 1))
        assert admission is not None
        assert introductions.due(admission) is due, address


@pytest.mark.parametrize("header", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
@on_both_loops
async def test_the_header_is_taken_off_the_socket_and_not_a_byte_more(header: bytes) -> None:
    with met() as it:
        it.theirs.sendall(header + b"GET / HTTP/1.1\r\n")
        introduced = await it.introduce()
        assert introduced is not None
        assert (introduced.address, introduced.port, introduced.local_port) == (*CLIENT, LOCAL[1])
        assert introduced.named
        assert it.ours.recv(100) == b"GET / HTTP/1.1\r\n"
        assert it.stats.proxy_headers_missed_total == 0


@pytest.mark.parametrize("header", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
@on_both_loops
async def test_a_header_that_comes_byte_by_byte_is_read(header: bytes) -> None:
    with met() as it:
        reading = asyncio.ensure_future(it.introduce())
        for at in range(len(header)):
            it.theirs.sendall(header[at : at + 1])
            await taken(it.ours)
        it.theirs.sendall(b"behind")
        introduced = await asyncio.wait_for(reading, 10)
        assert introduced is not None
        assert (introduced.address, introduced.port) == CLIENT
        assert it.ours.recv(100) == b"behind"


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", VERSION_2[:12] + b"\x20\x00\x00\x00"],
    ids=["UNKNOWN", "LOCAL"],
)
@on_both_loops
async def test_a_proxy_that_names_nobody_is_itself_the_client(header: bytes) -> None:
    with met() as it:
        it.theirs.sendall(header)
        introduced = await it.introduce()
        assert introduced is not None
        assert (introduced.address, introduced.port, introduced.local_port) == (PROXY, 4000, 0)
        assert not introduced.named


@on_both_loops
async def test_the_gate_goes_on_counting_the_connection_as_the_proxys() -> None:
    with met(Limits(connections_per_client=1)) as it:
        it.theirs.sendall(VERSION_2)
        introduced = await it.introduce()
        assert introduced is not None
        assert it.gate.admit((PROXY, 4001)) is None
        introduced.end()
        introduced.end()
        assert it.gate.count == 0
        assert it.gate.admit((PROXY, 4001)) is not None


@on_both_loops
async def test_a_proxy_without_a_header_is_refused_counted_and_told_of_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    with met() as it:
        it.theirs.sendall(b"GET / HTTP/1.1\r\n")
        assert await it.introduce() is None
        assert await it.introduce() is None
        assert it.stats.proxy_headers_missed_total == 2
    assert [record.getMessage() for record in caplog.records] == [
        "10.0.0.1 is one of --trusted-proxies, and its connection has no PROXY header: it does not begin with a PROXY"
        " header (have it send one, or take it out of --trusted-proxies)"
    ]


@pytest.mark.parametrize(
    ("sent", "missed"), [(b"", 0), (VERSION_2[:20], 1), (VERSION_1[:20], 1)], ids=["nothing", "version 2", "version 1"]
)
@on_both_loops
async def test_a_proxy_that_closes_is_let_go_and_counts_if_it_had_begun(sent: bytes, missed: int) -> None:
    with met() as it:
        it.theirs.sendall(sent)
        it.theirs.shutdown(socket.SHUT_WR)
        assert await it.introduce() is None
        assert it.stats.proxy_headers_missed_total == missed


@on_both_loops
async def test_a_header_that_does_not_come_in_time_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with met() as it:
        it.theirs.sendall(VERSION_2[:-1])
        assert await it.introduce(0.01) is None
        assert it.stats.proxy_headers_missed_total == 1
    assert "it did not come in time" in caplog.text


@on_both_loops
async def test_what_was_begun_is_lost_when_it_is_cut() -> None:
    lost: asyncio.Queue[tuple[socket.socket, Admission]] = asyncio.Queue()

    async def introduced(sock: socket.socket, admission: Admission) -> None:
        pytest.fail("nobody was introduced")

    with met() as it:
        it.introductions.begin(it.ours, it.admission, 10.0, introduced, lambda *those: lost.put_nowait(those))
        await asyncio.sleep(0)
        it.introductions.cut()
        assert await asyncio.wait_for(lost.get(), 10) == (it.ours, it.admission)


@on_both_loops
async def test_what_fails_after_its_header_is_lost_too() -> None:
    lost: asyncio.Queue[tuple[socket.socket, Admission]] = asyncio.Queue()

    async def introduced(sock: socket.socket, admission: Admission) -> None:
        raise ConnectionResetError

    with met() as it:
        it.theirs.sendall(VERSION_2)
        it.introductions.begin(it.ours, it.admission, 10.0, introduced, lambda *those: lost.put_nowait(those))
        assert await asyncio.wait_for(lost.get(), 10) == (it.ours, it.admission)
