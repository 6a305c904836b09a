"""Long bodies, slow peers, tunnels and drain: what must flow, and what must not pile up."""

from __future__ import annotations

import asyncio
import hashlib
import resource

import pytest

from tests.support.backend import OK, Peer, backend
from tests.support.edge import running, snapshot

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
BLOCK = bytes(range(256)) * 256


async def test_an_upload_streams_with_bounded_memory() -> None:
    blocks = 1600  # 100 MiB
    digest = hashlib.sha256()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        for _ in range(blocks):
            digest.update(await peer.reader.readexactly(len(BLOCK)))
        await peer.send(OK)

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
        for _ in range(blocks):
            writer.write(BLOCK)
            await writer.drain()
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")
        assert digest.digest() == hashlib.sha256(BLOCK * blocks).digest()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 * 1024  # this test holds it once
        (entry,) = await edge.logged()
        assert entry.bytes_in == blocks * len(BLOCK)


async def test_a_slow_client_slows_the_upstream_down() -> None:
    sent = 0
    finished = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1600 * len(BLOCK)))
        for _ in range(1600):
            await peer.send(BLOCK)
            sent += len(BLOCK)
        finished.set()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.transport.set_write_buffer_limits(0)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        last = -1
        while last != sent:  # until the backend is held up
            last = sent
            await asyncio.sleep(0.2)
        assert sent < 64 * 1024 * 1024
        assert not finished.is_set()
        total = 0
        while total < 1600 * len(BLOCK):
            total += len(await reader.read(1 << 20))
        await asyncio.wait_for(finished.wait(), 10)


async def test_a_slow_upstream_slows_the_client_down() -> None:
    go = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        for _ in range(1600):
            await peer.reader.readexactly(len(BLOCK))
        await peer.send(OK)

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1600 * len(BLOCK)))
        sent = 0

        async def upload() -> None:
            nonlocal sent
            for _ in range(1600):
                writer.write(BLOCK)
                await writer.drain()
                sent += len(BLOCK)

        task = asyncio.create_task(upload())
        last = -1
        while last != sent or not sent:
            last = sent
            await asyncio.sleep(0.2)
        assert sent < 64 * 1024 * 1024
        go.set()
        await asyncio.wait_for(task, 30)
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")


async def test_server_sent_events_are_passed_on_at_once() -> None:
    turn = asyncio.Queue[bytes]()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            event = await turn.get()
            await peer.send(b"%x\r\n%b\r\n" % (len(event), event))
        await peer.send(b"0\r\n\r\n")

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        for n in range(3):
            event = b"data: %d\n\n" % n
            turn.put_nowait(event)
            assert await asyncio.wait_for(reader.readuntil(event + b"\r\n"), 10)
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"


async def _echo_tunnel(peer: Peer) -> None:
    head = await peer.head()
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
    await peer.send(SWITCH + b"hello")
    while data := await peer.reader.read(65536):
        await peer.send(data)
    await peer.send(b"bye")


async def test_an_upgrade_becomes_a_tunnel_with_half_close() -> None:
    async with backend(_echo_tunnel) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(UPGRADE + b"early")
        assert await reader.readuntil(b"helloearly") == SWITCH + b"helloearly"
        writer.write(b"x" * 300_000)
        assert await reader.readexactly(300_000) == b"x" * 300_000
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 10) == b"bye"
        (entry,) = await edge.logged()
        assert (entry.status, entry.bytes_in, entry.bytes_out) == (101, 300_005, 300_013)


async def test_a_tunnel_outlives_a_reload() -> None:
    async with backend(_echo_tunnel) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(UPGRADE)
        await reader.readuntil(b"hello")
        edge.edge.publish(snapshot([], routes=[], generation=2), None)
        writer.write(b"still here")
        assert await asyncio.wait_for(reader.readexactly(10), 10) == b"still here"
        assert edge.stats.tunnels_open == 1


async def test_a_refused_upgrade_is_an_ordinary_response() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
        await peer.head()
        await peer.send(OK)

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\nno")).startswith(b"HTTP/1.1 426 ")
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")


async def test_drain_finishes_what_is_in_progress() -> None:
    release = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await release.wait()
        await peer.send(b"cd")
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        idle_reader, idle = await edge.connect()
        idle.write(b"HEAD /nowhere HTTP/1.1\r\nHost: a\r\nExpect: nothing\r\n\r\n")
        await idle_reader.readuntil(b"\r\n\r\n")
        reader, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"ab")
        drain = asyncio.create_task(edge.edge.drain(10))
        assert await asyncio.wait_for(idle_reader.read(-1), 10) == b""
        with pytest.raises(OSError, match=r".*"):
            await edge.connect()
        release.set()
        assert await asyncio.wait_for(reader.read(-1), 10) == b"cd"
        await asyncio.wait_for(drain, 10)


async def test_requests_during_drain_get_connection_close() -> None:
    release = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        await release.wait()
        await peer.send(OK)
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await app.peer(0)
        drain = asyncio.create_task(edge.edge.drain(10))
        await asyncio.sleep(0)
        release.set()
        assert b"\r\nConnection: close\r\n" in await asyncio.wait_for(reader.read(-1), 10)
        await asyncio.wait_for(drain, 10)


async def test_a_drain_that_takes_too_long_cuts() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        _, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await app.peer(0)
        await edge.edge.drain(0.1)
        (entry,) = await edge.logged()
        assert entry.reason == "client_abort"
