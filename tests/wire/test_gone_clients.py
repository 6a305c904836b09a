"""Clients that leave while the edge does not read from them: no event of the loop tells of that."""

from __future__ import annotations

import asyncio

import pytest

from ingressd.listener import http1
from ingressd.listener.http1 import Http1Connection
from ingressd.listener.plain import reset_when_closed
from ingressd.settings import Limits
from tests.support.backend import Peer, abort, backend
from tests.support.edge import Running, running, snapshot
from tests.support.loops import on_both_loops

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
PATIENCE_S = 20.0
MUCH = 32 * 1024 * 1024


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "_LOOK_S", 0.05)


async def paused(edge: Running) -> Http1Connection:
    """The only connection, once the edge has stopped reading from it."""
    async with asyncio.timeout(PATIENCE_S):
        while not (held := [each for each in edge.edge._http.connections if each._input_paused]):
            await asyncio.sleep(0.005)
    return held[0]


async def silent(peer: Peer) -> None:
    """Takes a request, and says nothing until the edge lets go."""
    await peer.head()
    await peer.eof()


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@on_both_loops
async def test_a_client_that_leaves_with_requests_ahead_frees_its_place_and_the_endpoint(reset: bool) -> None:
    async with backend(silent) as app, running(snapshot([app.port]), limits=Limits(pipelined_requests=2)) as edge:
        _, writer = await edge.connect()
        writer.write(GET)
        peer = await app.peer(0)
        writer.write(GET * 3)
        await paused(edge)
        if reset:
            reset_when_closed(writer.get_extra_info("socket"))
            abort(writer)
        else:
            writer.close()
        (entry,) = await edge.logged()
        assert (entry.status, entry.reason) == (499, "client_abort")
        assert not edge.edge._http.connections
        await asyncio.wait_for(peer.closed.wait(), PATIENCE_S)


@on_both_loops
async def test_a_client_that_leaves_while_the_endpoint_takes_no_more_is_noticed() -> None:
    released = asyncio.Event()

    async def stuck(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()
        await released.wait()

    async with backend(stuck) as app, running(snapshot([app.port])) as edge:
        _, writer = await edge.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH)
        writer.write(bytes(MUCH // 2))
        await paused(edge)
        reset_when_closed(writer.get_extra_info("socket"))
        abort(writer)
        (entry,) = await edge.logged()
        assert (entry.status, entry.reason) == (499, "client_abort")
        released.set()


@on_both_loops
async def test_a_client_that_finishes_sending_into_a_full_tunnel_still_hears_the_endpoint() -> None:
    released = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\n" + UPGRADE)
        peer.writer.transport.pause_reading()
        await released.wait()
        await peer.send(b"heard")
        peer.writer.transport.resume_reading()
        await peer.eof()

    async with backend(late) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(GET[:-2] + UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes(MUCH))
        connection = await paused(edge)
        writer.write_eof()
        seen = {connection.deadline}
        async with asyncio.timeout(PATIENCE_S):
            while len(seen) < 4:
                await asyncio.sleep(0.005)
                seen.add(connection.deadline)
        released.set()
        assert await asyncio.wait_for(reader.readexactly(5), PATIENCE_S) == b"heard"
