"""TCP connections through a Service port: bytes, ends and resets pass; endpoints that fail are passed over."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from ingressd.settings import Limits
from tests.support.backend import Backend, Peer, abort, backend
from tests.support.loops import on_both_loops
from tests.support.stream_edge import free_port, listener, serving, table

PATIENCE_S = 10.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _wait(peer: Peer) -> None:
    await peer.eof()


async def _connect(port: int, source: str = "127.0.0.1") -> Streams:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def _read(reader: asyncio.StreamReader, count: int = -1) -> bytes:
    reading = reader.read() if count < 0 else reader.readexactly(count)
    return await asyncio.wait_for(reading, PATIENCE_S)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    abort(writer)


async def _name(port: int, source: str = "127.0.0.1") -> bytes:
    """What the endpoint says at once."""
    reader, writer = await _connect(port, source)
    try:
        return await _read(reader)
    finally:
        writer.close()


def _named(name: bytes) -> AbstractAsyncContextManager[Backend]:
    async def tell(peer: Peer) -> None:
        await peer.send(name)

    return backend(tell)


@on_both_loops
async def test_each_side_may_finish_first_and_still_hear_the_other() -> None:
    async def conversation(peer: Peer) -> None:
        asked = await peer.reader.read()
        await peer.send(b"answer to " + asked)

    port = listener()
    async with backend(conversation) as app, serving(table([port], [app.port])) as edge:
        reader, writer = await _connect(port.port)
        writer.write(b"question")
        writer.write_eof()
        assert await _read(reader) == b"answer to question"
        writer.close()
        (entry,) = await edge.log.ended()
        assert (entry.reason, entry.bytes_in, entry.bytes_out, entry.attempts) == ("", 8, 18, 1)
        assert entry.upstream_address == f"127.0.0.1:{app.port}"
        assert edge.stats.streams.export() == {("default", "app", "1", "TCP"): (1, 0, 8, 18, 0)}
        assert edge.edge.upstreams()[0]["endpoints"][0]["active"] == 0  # type: ignore[index]


@on_both_loops
async def test_the_endpoint_may_finish_first() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.send(b"greeting")
        peer.writer.write_eof()
        assert await peer.reader.read() == b"late"

    port = listener()
    async with backend(conversation) as app, serving(table([port], [app.port])) as edge:
        reader, writer = await _connect(port.port)
        assert await _read(reader) == b"greeting"
        writer.write(b"late")
        writer.close()
        (entry,) = await edge.log.ended()
        assert (entry.reason, entry.bytes_in, entry.bytes_out) == ("", 4, 8)


@on_both_loops
async def test_a_reset_of_one_side_resets_the_other() -> None:
    port = listener()
    async with backend(_wait) as app, serving(table([port], [app.port])) as edge:
        reader, writer = await _connect(port.port)
        _reset((await app.peer(0)).writer)
        with pytest.raises(ConnectionResetError):
            await _read(reader)
        writer.close()
        assert (await edge.log.ended())[0].reason == "upstream_reset"
        reader, writer = await _connect(port.port)
        peer = await app.peer(1)
        _reset(writer)
        await asyncio.wait_for(peer.closed.wait(), PATIENCE_S)
        assert (await edge.log.ended(2))[1].reason == "client_abort"


@on_both_loops
async def test_a_side_that_does_not_read_stops_the_other_within_bounded_memory() -> None:
    size = 32 * 1024 * 1024
    release = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        transport: Any = peer.writer.transport
        transport.pause_reading()  # its reader would take in 32 MiB by itself
        await release.wait()
        transport.resume_reading()
        left = size
        while left:
            left -= len(await peer.reader.read(1 << 20))
        await peer.send(b"all")

    port = listener()
    limits = Limits()
    async with backend(conversation) as app, serving(table([port], [app.port]), limits) as edge:
        reader, writer = await _connect(port.port)
        piece, sent = bytes(1 << 20), 0

        async def send() -> None:
            nonlocal sent
            while sent < size:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)

        sending = asyncio.create_task(send())
        await app.peer(0)
        (connection,) = edge.edge.streams.connections
        held, before = -1, 0
        while held != before:  # until nothing moves any more
            before = held
            await asyncio.sleep(0.1)
            held = connection.bytes_in
        splice = connection._splice
        assert splice is not None
        assert splice.upstream._transport is not None
        # One read beyond the mark: uvloop reads up to 256 KiB at once.
        assert splice.upstream._transport.get_write_buffer_size() <= limits.buffer_high_bytes + 256 * 1024
        assert sent < size
        release.set()
        assert await _read(reader, 3) == b"all"
        await sending
        writer.close()
        assert (await edge.log.ended())[0].bytes_in == size


@on_both_loops
async def test_an_endpoint_that_refuses_is_passed_over() -> None:
    port, nobody, nobody_either = listener(), free_port(), free_port()
    async with _named(b"one") as app, serving(table([port], [nobody, nobody_either, app.port])) as edge:
        for _ in range(6):
            assert await _name(port.port) == b"one"
        assert max(entry.attempts for entry in await edge.log.ended(6)) == 3
        assert edge.stats.streams.export()["default", "app", "1", "TCP"][4] > 0


@on_both_loops
async def test_an_endpoint_that_does_not_answer_is_passed_over_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        queued = socket.create_connection(full.getsockname())  # the backlog has room for this one, and no other
        port = listener(connect_s=0.2)
        async with _named(b"one") as app, serving(table([port], [full.getsockname()[1], app.port])) as edge:
            for _ in range(2):
                assert await _name(port.port) == b"one"
            assert {entry.attempts for entry in await edge.log.ended(2)} == {1, 2}
        queued.close()


@on_both_loops
async def test_without_endpoints_a_client_is_reset() -> None:
    port, nobody = listener(), free_port()
    async with serving(table([port], [])) as edge:
        for number, (ports, reason) in enumerate([((), "no_endpoints"), ((nobody,), "connect_refused")], 1):
            await edge.serve(table([port], ports, number + 1))
            reader, writer = await _connect(port.port)
            with pytest.raises(ConnectionResetError):
                await _read(reader)
            writer.close()
            assert (await edge.log.ended(number))[-1].reason == reason


@on_both_loops
async def test_a_silent_connection_is_ended_after_its_time() -> None:
    port = listener(idle_s=0.2)
    async with backend(_wait) as app, serving(table([port], [app.port])) as edge:
        reader, writer = await _connect(port.port)
        with pytest.raises(ConnectionResetError):
            await _read(reader)
        writer.close()
        assert (await edge.log.ended())[0].reason == "idle"


@pytest.mark.parametrize("address", ["127.0.0.1", "::"])
@on_both_loops
async def test_the_endpoint_is_told_whose_connection_it_is(address: str) -> None:
    port = listener(address=address, proxy_protocol=True)
    heads: list[bytes] = []

    async def conversation(peer: Peer) -> None:
        heads.append(await peer.read(28 + 2))
        await peer.send(b"ok")

    async with backend(conversation) as app, serving(table([port], [app.port])):
        reader, writer = await _connect(port.port)
        writer.write(b"hi")
        assert await _read(reader) == b"ok"
        client = writer.get_extra_info("sockname")[1]
        writer.close()
    assert heads[0][:16] == b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    assert struct.unpack("!4s4sHH", heads[0][16:28]) == (b"\x7f\0\0\1", b"\x7f\0\0\1", client, port.port)
    assert heads[0][28:] == b"hi"


async def _greeted(port: int) -> Streams:
    reader, writer = await _connect(port)
    assert await _read(reader, 3) == b"hi "
    return reader, writer


@on_both_loops
async def test_connections_live_on_when_ports_and_endpoints_come_and_go() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.send(b"hi ")
        while data := await peer.reader.read(100):
            await peer.send(data.upper())

    first, second = listener(), listener()
    async with backend(conversation) as app, _named(b"two") as other, serving(table([first], [app.port])) as edge:
        reader, writer = await _greeted(first.port)
        assert await edge.serve(table([first, second], [other.port], 2)) == {}
        assert await _name(second.port) == b"two"
        assert await edge.serve(table([second], [other.port], 3)) == {}
        with pytest.raises(ConnectionRefusedError):
            await _connect(first.port)
        writer.write(b"still here")
        assert await _read(reader, 10) == b"STILL HERE"
        writer.close()
        assert edge.edge.streams.statistics()["tcp_listeners"] == 1


@on_both_loops
async def test_a_drain_refuses_new_connections_and_lets_others_end() -> None:
    port = listener()

    async def conversation(peer: Peer) -> None:
        await peer.send(b"hi ")
        await peer.eof()

    async with backend(conversation) as app, serving(table([port], [app.port])) as edge:
        _, writer = await _greeted(port.port)
        draining = asyncio.create_task(edge.edge.drain(PATIENCE_S))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await _connect(port.port)
        assert not draining.done()
        writer.close()
        await asyncio.wait_for(draining, PATIENCE_S)


@on_both_loops
async def test_the_end_of_a_drain_cuts_what_is_left() -> None:
    port = listener()
    async with backend(_wait) as app, serving(table([port], [app.port])) as edge:
        reader, writer = await _connect(port.port)
        await app.peer(0)
        await edge.edge.drain(0.05)
        with pytest.raises(ConnectionResetError):
            await _read(reader)
        writer.close()
        assert (await edge.log.ended())[0].reason == "draining"


@on_both_loops
async def test_a_client_that_has_enough_connections_gets_no_more() -> None:
    port = listener()
    async with backend(_wait) as app, serving(table([port], [app.port]), Limits(connections_per_client=1)) as edge:
        _, first = await _connect(port.port)
        await app.peer(0)
        reader, second = await _connect(port.port)
        assert await _read(reader) == b""
        first.close()
        second.close()
        assert edge.stats.connections_refused_total == 1


@on_both_loops
async def test_a_port_for_some_clients_resets_the_others() -> None:
    port = listener(address="::", sources=("127.0.0.5", "10.0.0.0/8"))
    async with _named(b"app") as app, serving(table([port], [app.port])) as edge:
        assert await _name(port.port, "127.0.0.5") == b"app"
        with pytest.raises(ConnectionResetError):
            await _name(port.port, "127.0.0.6")
        assert await _name(port.port, "127.0.0.5") == b"app"
        entries = await edge.log.ended(3)
        assert sorted((entry.client_address, str(entry.reason), entry.attempts) for entry in entries) == [
            ("127.0.0.5", "", 1),
            ("127.0.0.5", "", 1),
            ("127.0.0.6", "denied_ip", 0),
        ]
        # An edit lets everybody in.
        await edge.serve(table([replace(port, sources=())], [app.port], generation=2))
        assert await _name(port.port) == b"app"


@on_both_loops
async def test_a_connection_that_is_cut_before_it_begins_is_closed_and_told() -> None:
    port = listener()
    async with serving(table([port], [free_port()])) as it:
        with socket.create_connection(("127.0.0.1", port.port)) as client:
            it.edge.streams._ports[port.key]._accept()  # type: ignore[union-attr]
            [connection] = it.edge.streams.connections
            connection.cut()
            [entry] = await it.log.ended()
            client.settimeout(PATIENCE_S)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert (entry.reason, entry.attempts) == ("draining", 0)
        assert not it.edge.streams.connections
