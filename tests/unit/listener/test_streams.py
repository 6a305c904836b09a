"""The Service ports of a worker: they open and close with the table, and what cannot be opened is tried again."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping

import pytest

from ingressd.listener import streams as module
from ingressd.listener.edge import Edge
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits, Settings
from ingressd.table.stream import UDP
from tests.support.loops import on_both_loops
from tests.support.stream_edge import RecordingLog, listener, serving, table


@on_both_loops
async def test_a_port_that_another_program_has_is_told_and_the_others_are_served() -> None:
    taken, free, datagrams = listener(), listener(), listener(UDP)
    with (
        socket.create_server(("127.0.0.1", taken.port)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder,
    ):
        holder.bind(("127.0.0.1", datagrams.port))
        async with serving(table([], [])) as edge:
            unbound = await edge.serve(table([taken, free, datagrams], [], 2))
            assert unbound == {taken.key: errno.EADDRINUSE, datagrams.key: errno.EADDRINUSE}
            assert edge.edge.streams.statistics() == {
                "tcp_listeners": 1,
                "udp_listeners": 0,
                "unbound": 2,
                "connections": 0,
                "flows": 0,
            }
            assert await edge.serve(table([free], [], 3)) == {}


@on_both_loops
async def test_a_port_is_opened_when_it_becomes_free(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = listener()
    told: asyncio.Queue[Mapping[str, int]] = asyncio.Queue()
    with monkeypatch.context() as patch:
        patch.setattr(module, "RETRY_S", 0.05)
        edge = Edge(Settings(access_log="off"), WorkerStats(), RecordingLog(), told.put_nowait)
        await edge.start([], [])
        snapshot = table([taken], [])
        edge.publish(snapshot, None)
        with socket.create_server(("127.0.0.1", taken.port)):
            assert await edge.listen(snapshot, None) == {taken.key: errno.EADDRINUSE}
        assert await asyncio.wait_for(told.get(), 10) == {}
        assert edge.streams.statistics()["tcp_listeners"] == 1
        await edge.drain(0.1)


@on_both_loops
async def test_several_workers_share_a_port() -> None:
    port, datagrams = listener(), listener(UDP)
    async with serving(table([port, datagrams], [])), serving(table([port, datagrams], [])) as other:
        assert other.edge.streams.statistics()["unbound"] == 0


@on_both_loops
async def test_descriptors_of_ports_are_none_for_connections() -> None:
    few, many = table([], [], 2), table([listener(address=f"127.0.1.{n}") for n in range(1, 100)], [], 3)
    async with serving(table([], []), Limits(connections=10**9)) as edge:
        await edge.serve(few)
        before = edge.edge._gate.capacity
        await edge.serve(many)
        assert before - edge.edge._gate.capacity in (79, 80)
