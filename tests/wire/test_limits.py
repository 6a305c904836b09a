"""The bounds of docs/limits.md on the client's side, on real sockets: reached, not reached, and recovered from."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import tests.support.edge
from ingressd.listener.http1 import Http1Connection
from ingressd.settings import Limits
from tests.support.backend import OK, Peer, backend, echo
from tests.support.certificates import issue, trusting
from tests.support.edge import Running, running, snapshot
from tests.support.loops import on_both_loops

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PATIENCE_S = 20.0
BIG = 16 * 1024 * 1024
ROOT = Path(__file__).parents[2]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the edge does by itself."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the edge closes; a reset closes, too."""
    data = b""
    with suppress(ConnectionError):
        while part := await asyncio.wait_for(reader.read(65536), PATIENCE_S):
            data += part
    return data


async def response(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One response of known length."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return head, await asyncio.wait_for(reader.readexactly(length), PATIENCE_S)


def connections(edge: Running) -> list[Http1Connection]:
    return [*edge.edge._http.connections, *edge.edge._https.connections]


async def opened(edge: Running, count: int) -> list[Http1Connection]:
    """The edge's connections, once there are `count`."""
    await until(lambda: len(connections(edge)) == count)
    return connections(edge)


async def gone(edge: Running) -> None:
    """Wait until no connection is counted anywhere."""
    gate = edge.edge._gate
    await until(lambda: not gate.count and not edge.stats.connections_open and not connections(edge))
    assert gate.empty.is_set()
    assert gate._by_client == {}


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes) -> bytes:
    """Send `piece` again and again, never long silent, until the edge has closed; what it said."""
    said = asyncio.ensure_future(rest(reader))
    async with asyncio.timeout(PATIENCE_S):
        while not said.done():
            with suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
            await asyncio.wait([said], timeout=0.02)
    return said.result()


# The time to a head


async def test_a_head_that_trickles_in_from_the_start_is_answered_408() -> None:
    async with running(snapshot([1]), limits=Limits(request_head_s=0.3)) as edge:
        reader, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        answer = await trickle(reader, writer, b"x")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"x-ingressd-reason: request_timeout\r\n" in answer
        assert b"\r\nConnection: close\r\n" in answer
        (entry,) = await edge.logged()
        assert (entry.status, entry.reason) == (408, "request_timeout")
        await gone(edge)


async def test_a_client_that_says_nothing_is_closed_without_an_answer() -> None:
    async with running(snapshot([1]), limits=Limits(request_head_s=0.2)) as edge:
        reader, _ = await edge.connect()
        assert await rest(reader) == b""
        assert edge.log.entries == []
        await gone(edge)


async def test_the_next_head_of_a_connection_has_the_same_time_from_its_first_byte() -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(request_head_s=0.3)) as edge:
        reader, writer = await edge.connect()
        writer.write(GET)
        await response(reader)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        assert (await trickle(reader, writer, b"x")).startswith(b"HTTP/1.1 408 ")
        assert [entry.status for entry in await edge.logged(2)] == [200, 408]


async def test_a_head_in_many_pieces_within_its_time_is_served() -> None:
    async with backend(echo) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        for _ in range(2):
            for byte in GET:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)
            assert (await response(reader))[0].startswith(b"HTTP/1.1 200 ")


# Keep-alive


async def test_an_idle_connection_is_closed_silently_after_its_time() -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(keepalive_idle_s=0.3)) as edge:
        reader, writer = await edge.connect()
        writer.write(GET)
        await response(reader)
        assert await rest(reader) == b""
        assert len(await edge.logged()) == 1
        await gone(edge)


async def test_an_empty_line_does_not_lengthen_the_idle_time() -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(keepalive_idle_s=2)) as edge:
        reader, writer = await edge.connect()
        writer.write(GET)
        await response(reader)
        (connection,) = connections(edge)
        await until(lambda: connection._reader is None)
        deadline = connection.deadline
        writer.write(b"\r\n")
        await until(lambda: connection._reader is not None)
        assert connection.deadline == deadline
        assert await rest(reader) == b""
        await gone(edge)


async def test_a_connection_that_idles_gives_its_parser_away_and_serves_the_next_request() -> None:
    async with backend(echo) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        (connection,) = await opened(edge, 1)
        assert connection._reader is None
        for _ in range(2):
            writer.write(GET)
            await response(reader)
            assert connection._reader is not None
            await until(lambda: connection._reader is None)


@pytest.mark.parametrize("pipelined", [False, True])
async def test_the_last_request_that_a_connection_may_carry_closes_it(pipelined: bool) -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(keepalive_requests=3)) as edge:
        reader, writer = await edge.connect()
        if pipelined:
            writer.write(GET * 4)
        for number in (1, 2, 3):
            if not pipelined:
                writer.write(GET)
            head, _ = await response(reader)
            assert (b"\r\nConnection: close\r\n" in head) == (number == 3)
        assert await rest(reader) == b""
        assert len(await edge.logged(3)) == 3
        await gone(edge)


# Request bodies


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


async def swallow(peer: Peer) -> None:
    """Reads whatever comes."""
    await peer.eof()


async def counting(peer: Peer) -> None:
    """Reads a body of known length, and answers."""
    head = await peer.head()
    await peer.read(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    await peer.send(OK)


@pytest.mark.parametrize(
    "head", [POST % 1000, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"]
)
async def test_a_body_below_the_least_rate_is_answered_408(head: bytes) -> None:
    limits = Limits(body_rate_bytes_s=100_000, body_rate_grace_s=0.3)
    async with backend(swallow) as app, running(snapshot([app.port]), limits=limits) as edge:
        reader, writer = await edge.connect()
        writer.write(head)
        answer = await trickle(reader, writer, b"x")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"x-ingressd-reason: request_timeout\r\n" in answer
        assert b"\r\nConnection: close\r\n" in answer
        await asyncio.wait_for((await app.peer(0)).closed.wait(), PATIENCE_S)
        await gone(edge)


async def test_a_body_above_the_least_rate_may_take_as_long_as_it_likes() -> None:
    limits = Limits(body_rate_bytes_s=10, body_rate_grace_s=0.1)
    async with backend(counting) as app, running(snapshot([app.port]), limits=limits) as edge:
        reader, writer = await edge.connect()
        writer.write(POST % 1000)
        for _ in range(20):
            writer.write(b"x" * 50)
            await writer.drain()
            await asyncio.sleep(0.03)
        assert (await response(reader))[0].startswith(b"HTTP/1.1 200 ")


async def test_a_body_within_the_grace_has_no_least_rate() -> None:
    limits = Limits(body_rate_bytes_s=1_000_000, body_rate_grace_s=60)
    async with backend(counting) as app, running(snapshot([app.port]), limits=limits) as edge:
        reader, writer = await edge.connect()
        writer.write(POST % 10)
        for _ in range(10):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)
        assert (await response(reader))[0].startswith(b"HTTP/1.1 200 ")


async def test_the_time_in_which_the_endpoint_does_not_read_is_not_the_client_s() -> None:
    # The buffers on the way hold less than two seconds of this rate, and a starved machine still keeps it.
    limits = Limits(body_rate_bytes_s=6 * 1024 * 1024, body_rate_grace_s=0.5, request_body_gap_s=0.5)
    go_on = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.head()
        # Else the stream's own buffer would take the whole body in.
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.read(BIG)
        await peer.send(OK)

    async with backend(slow) as app, running(snapshot([app.port]), limits=limits) as edge:
        reader, writer = await edge.connect()
        sending = asyncio.ensure_future(send(writer, POST % BIG + bytes(BIG)))
        (connection,) = await opened(edge, 1)
        await until(lambda: connection._body_held)
        await asyncio.sleep(2.0)  # more than both limits; the client would send
        assert edge.log.entries == []
        go_on.set()
        assert (await response(reader))[0].startswith(b"HTTP/1.1 200 ")
        await sending


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_a_client_that_was_told_to_continue_has_to_send() -> None:
    limits = Limits(body_rate_bytes_s=240, body_rate_grace_s=0.3)
    async with backend(swallow) as app, running(snapshot([app.port]), limits=limits) as edge:
        answer = await edge.exchange(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 ")


async def test_a_silent_gap_in_a_body_is_answered_408() -> None:
    limits = Limits(body_rate_bytes_s=0, request_body_gap_s=0.3)
    async with backend(swallow) as app, running(snapshot([app.port]), limits=limits) as edge:
        assert (await edge.exchange(POST % 9 + b"x")).startswith(b"HTTP/1.1 408 ")


# Clients that do not read


@asynccontextmanager
async def narrow(edge: Running, window: int = 4096) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client with a small window, which reads only what it is asked to."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.connect(("127.0.0.1", edge.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    edge.clients.append(writer)
    yield reader, writer


async def flood(peer: Peer) -> None:
    """Answers with more than all buffers hold."""
    while True:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG))


async def test_a_client_that_reads_nothing_is_cut_and_so_is_the_endpoint() -> None:
    limits = Limits(response_write_gap_s=0.4)
    async with backend(flood) as app, running(snapshot([app.port]), limits=limits) as edge, narrow(edge) as (_, writer):
        writer.write(GET)
        (entry,) = await edge.logged()
        assert (entry.status, entry.reason) == (200, "client_too_slow")
        await asyncio.wait_for((await app.peer(0)).closed.wait(), PATIENCE_S)
        await gone(edge)


async def test_a_client_that_reads_slowly_is_not_cut() -> None:
    limits = Limits(response_write_gap_s=1.0)
    async with (
        backend(flood) as app,
        running(snapshot([app.port]), limits=limits) as edge,
        narrow(edge, 8192) as (reader, writer),
    ):
        writer.write(GET)
        (connection,) = await opened(edge, 1)
        await until(lambda: connection.stalled)
        written = connection._written_bytes
        for _ in range(20):  # for twice the gap
            assert await asyncio.wait_for(reader.readexactly(10_000), PATIENCE_S)
            await asyncio.sleep(0.1)
        # The kernel has taken nothing more from the edge, and the client was not cut all the same.
        assert connection._written_bytes == written
        assert edge.log.entries == []


async def test_a_client_that_does_not_read_the_last_answer_is_cut() -> None:
    async def at_once(peer: Peer) -> None:
        while True:
            await peer.head()
            # Less than the edge keeps for a slow client, more than the client's window: the exchange ends.
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000))

    limits = Limits(response_write_gap_s=0.4, keepalive_idle_s=0.2)
    async with backend(at_once) as app, running(snapshot([app.port]), limits=limits) as edge:
        for request in (GET, CLOSE):
            async with narrow(edge) as (_, writer):
                (connection,) = await opened(edge, 1)
                assert connection.transport is not None
                connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                writer.write(request)
                await until(lambda: edge.log.entries)
                assert connection.transport.get_write_buffer_size() > 0
                assert not connection.stalled
                await gone(edge)
                assert edge.log.entries.pop().status == 200


async def test_answers_do_not_pile_up_for_a_client_that_sends_requests_and_does_not_read() -> None:
    requests = 25_000
    limits = Limits(keepalive_requests=2 * requests, loop_lag_s=0.0)
    async with running(snapshot([], routes=[]), limits=limits) as edge, narrow(edge) as (reader, writer):
        sending = asyncio.ensure_future(send(writer, GET * requests + CLOSE))
        (connection,) = await opened(edge, 1)
        await until(lambda: connection.stalled)
        transport = connection.transport
        assert transport is not None
        await until(lambda: not transport.is_reading())
        assert transport.get_write_buffer_size() < limits.buffer_high_bytes + 1024
        assert len(connection._held) < 1024 * 1024
        answered = await rest(reader)
        await sending
        assert answered.count(b"HTTP/1.1 404 ") == requests + 1


# Requests ahead of their turn


@pytest.mark.parametrize(("ahead", "reads"), [(15, True), (16, False)])
async def test_reading_pauses_when_enough_requests_wait_for_their_turn(ahead: int, reads: bool) -> None:
    release = asyncio.Event()

    async def later(peer: Peer) -> None:
        await peer.head()
        await release.wait()
        await peer.send(OK)
        await echo(peer)

    async with backend(later) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(GET)
        await app.peer(0)
        (connection,) = connections(edge)
        for _ in range(ahead):
            # Split in the end of the head: a count by pieces would miss it.
            writer.write(GET[:-2])
            await writer.drain()
            await until(lambda: connection._held.endswith(GET[-5:-2]))
            writer.write(GET[-2:])
            await writer.drain()
            await until(lambda: connection._held.endswith(GET[-4:]))
        assert connection.transport is not None
        assert connection._ahead == ahead
        assert connection.transport.is_reading() == reads
        writer.write(CLOSE)
        release.set()
        assert (await rest(reader)).count(b"HTTP/1.1 200 OK\r\n") == ahead + 2


async def test_requests_that_came_with_the_first_one_count_as_ahead() -> None:
    release = asyncio.Event()

    async def later(peer: Peer) -> None:
        await peer.head()
        await release.wait()
        await peer.send(OK)
        await echo(peer)

    async with backend(later) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(GET * 40 + CLOSE)
        await app.peer(0)
        (connection,) = connections(edge)
        assert connection.transport is not None
        assert not connection.transport.is_reading()
        release.set()
        assert (await rest(reader)).count(b"HTTP/1.1 200 OK\r\n") == 41


# Connections


async def test_a_full_worker_leaves_clients_in_the_backlog_and_takes_them_when_there_is_room() -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(connections=3)) as edge:
        first = [await edge.connect() for _ in range(3)]
        for reader, writer in first:
            writer.write(GET)
            await response(reader)
        assert edge.stats.accept_pauses_total == 1
        waiting_reader, waiting_writer = await edge.connect()
        waiting_writer.write(GET)
        # The others are served all the time; after two of their answers, the new one's request has been here for long.
        for reader, writer in first * 2:
            writer.write(GET)
            await response(reader)
        assert edge.stats.connections_total == 3
        first[0][1].close()
        await response(waiting_reader)
        assert edge.stats.connections_total == 4
        assert edge.stats.accept_pauses_total == 2


async def test_handshakes_count_as_connections() -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(connections=2)) as edge:
        silent = [await asyncio.open_connection("127.0.0.1", edge.tls_port) for _ in range(2)]
        await until(lambda: edge.edge._gate.count == 2)
        reader, writer = await edge.connect()
        writer.write(CLOSE)
        silent[0][1].close()
        assert (await rest(reader)).startswith(b"HTTP/1.1 200 ")
        silent[1][1].close()
        await gone(edge)


async def test_one_client_s_connections_are_bounded_and_another_s_are_not_affected() -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(connections_per_client=2)) as edge:
        first = [await edge.connect() for _ in range(2)]
        for reader, writer in first:
            writer.write(GET)
            await response(reader)
        refused, _ = await edge.connect()
        assert await rest(refused) == b""
        assert edge.stats.connections_refused_total == 1
        other, other_writer = await asyncio.open_connection("127.0.0.1", edge.port, local_addr=("127.0.0.2", 0))
        other_writer.write(CLOSE)
        assert (await rest(other)).startswith(b"HTTP/1.1 200 ")
        other_writer.close()
        first[0][1].close()
        await until(lambda: edge.edge._gate.count == 1)
        reader, writer = await edge.connect()
        writer.write(CLOSE)
        assert (await rest(reader)).startswith(b"HTTP/1.1 200 ")
        first[1][1].close()
        await gone(edge)
        assert edge.stats.connections_refused_total == 1


async def test_a_handshake_that_takes_too_long_is_closed_and_counted() -> None:
    async with running(snapshot([]), limits=Limits(tls_handshake_s=0.2, connections_per_client=1)) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port)
        writer.write(b"\x16\x03\x01")
        assert await rest(reader) == b""
        writer.close()
        await gone(edge)
        assert edge.stats.handshake_timeouts_total == 1


async def test_a_client_of_an_ipv6_socket_that_speaks_ipv4_is_known_by_its_ipv4_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dual_stack() -> socket.socket:
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)

    monkeypatch.setattr(tests.support.edge, "listening", dual_stack)
    async with backend(echo) as app, running(snapshot([app.port])) as edge:
        for address in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(address, edge.port)
            local_port = writer.get_extra_info("sockname")[1]
            writer.write(CLOSE)
            answer = await rest(reader)
            writer.close()
            assert f"\r\nX-Real-IP: {address}\r\n".encode() in answer
            assert b"\r\nX-Forwarded-Port: %d\r\n" % edge.port in answer
            entry = (await edge.logged())[-1]
            assert (entry.client_address, entry.client_port) == (address, local_port)
            edge.log.entries.clear()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


@pytest.mark.parametrize("how", [reset, asyncio.StreamWriter.close], ids=["reset", "close"])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GET[:10],
        GET,
        GET * 10,
        POST % 1000 + b"x",
        POST % 1000 + bytes(2000),
        b"garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_wherever_a_client_leaves_nothing_of_its_connection_stays(
    sent: bytes, how: Callable[[asyncio.StreamWriter], None]
) -> None:
    limits = Limits(connections_per_client=100)
    async with backend(swallow) as app, running(snapshot([app.port]), limits=limits) as edge:
        for port in (edge.port, edge.tls_port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            await writer.drain()
            await until(lambda: edge.edge._gate.count)
            how(writer)
            await gone(edge)


@on_both_loops
async def test_a_client_that_never_stops_sending_garbage_is_told_and_let_go() -> None:
    async with running(snapshot([])) as edge:
        reader, writer = await edge.connect()
        answer = await trickle(reader, writer, b"\x00" * 65536)
        assert answer.startswith(b"HTTP/1.1 414 ")
        await gone(edge)


# Draining


async def test_a_drain_waits_for_half_open_handshakes_no_longer_than_they_may_take() -> None:
    async with running(snapshot([]), limits=Limits(tls_handshake_s=0.3)) as edge:
        _, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port)
        await until(lambda: edge.edge._gate.count == 1)
        await asyncio.wait_for(edge.edge.drain(60), PATIENCE_S)
        writer.close()
        await gone(edge)


async def test_a_drain_cuts_half_open_handshakes_and_silent_connections_at_its_timeout() -> None:
    certificate = issue("a")
    async with running(snapshot([]), limits=Limits(tls_handshake_s=60, request_head_s=60)) as edge:
        edge.edge.publish(snapshot([], default_certificate=certificate), None)
        writers = [(await asyncio.open_connection("127.0.0.1", edge.tls_port))[1]]
        writers.append((await asyncio.open_connection("127.0.0.1", edge.port))[1])
        writers.append(
            (await asyncio.open_connection("127.0.0.1", edge.tls_port, ssl=trusting(), server_hostname="a"))[1]
        )
        await until(lambda: edge.edge._gate.count == 3 and len(connections(edge)) == 2)
        await edge.edge.drain(0.1)
        await gone(edge)
        for writer in writers:
            writer.close()


# Overload


@on_both_loops
async def test_a_loop_that_lags_answers_new_requests_503_finishes_others_and_recovers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def later(peer: Peer) -> None:
        await peer.head()
        await release.wait()
        await peer.send(OK)
        await echo(peer)

    limits = Limits(loop_lag_s=0.1)
    async with backend(later) as app, running(snapshot([app.port]), limits=limits) as edge:
        busy_reader, busy_writer = await edge.connect()
        busy_writer.write(GET)
        await app.peer(0)
        idle_reader, idle_writer = await edge.connect()
        await opened(edge, 2)
        overload = edge.edge._overload
        async with asyncio.timeout(PATIENCE_S):
            while overload.reply is None:
                time.sleep(0.5)
                await asyncio.sleep(0.001)
        idle_writer.write(POST % BIG)
        said = asyncio.ensure_future(rest(idle_reader))
        with suppress(ConnectionError):
            await send(idle_writer, bytes(100_000))
        answer = await said
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"x-ingressd-reason: overload\r\n" in answer
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert b"\r\nConnection: close\r\n" in answer
        release.set()
        await response(busy_reader)
        assert len(app.peers) == 1
        await until(lambda: overload.reply is None)
        busy_writer.write(GET)
        assert (await response(busy_reader))[0].startswith(b"HTTP/1.1 200 ")
        entries = await edge.logged(3)
        assert [(entry.method, entry.status, entry.reason) for entry in entries] == [
            ("POST", 503, "overload"),
            ("GET", 200, ""),
            ("GET", 200, ""),
        ]
    assert [record.getMessage().split(":")[0] for record in caplog.records if "overload" in record.getMessage()] == [
        "overload",
        "overload is over",
    ]


async def test_a_worker_short_of_memory_answers_503_on_every_port() -> None:
    certificate = issue("a")
    table = snapshot([1], default_certificate=certificate)
    async with running(table, limits=Limits(memory_percent=1)) as edge:
        await until(lambda: edge.edge._overload.reply is not None)
        assert (await edge.exchange(GET)).startswith(b"HTTP/1.1 503 ")
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port, ssl=trusting(), server_hostname="a")
        writer.write(GET)
        assert (await rest(reader)).startswith(b"HTTP/1.1 503 ")
        writer.close()
        assert edge.stats.upstream_connects_total == 0


async def test_bounds_that_are_off_are_not_looked_at() -> None:
    async with running(snapshot([]), limits=Limits(memory_percent=0, loop_lag_s=0.0)) as edge:
        for _ in range(3):
            await asyncio.sleep(0.15)  # a tick of the wheel comes in between
            time.sleep(0.8)
        await asyncio.sleep(0.15)
        assert edge.edge._overload.reply is None


# Descriptors


class Starved:
    """tests.support.starved_edge, running."""

    def __init__(self, loop: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.starved_edge", loop],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.clients: list[socket.socket] = []
        self.first = self._answer()

    def ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def connect(self, *, tls: bool = False) -> socket.socket:
        port = self.first["tls_port" if tls else "port"]
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.clients.append(sock)
        return sock

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while not condition(status := self.ask("status")):
            assert time.monotonic() < deadline, status
            time.sleep(0.01)
        return status

    def stop(self) -> str:
        """What it logged."""
        for sock in self.clients:
            sock.close()
        if self.process.poll() is None:
            self.ask("stop")
        _, log = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, log
        return log


def answered(sock: socket.socket) -> bytes:
    """What comes until the edge closes."""
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_without_descriptors_a_worker_tells_one_client_rests_and_recovers(loop: str) -> None:
    edge = Starved(loop)
    try:
        kept = edge.connect()
        kept.sendall(GET)
        assert kept.recv(65536).startswith(b"HTTP/1.1 404 ")
        edge.ask("starve")
        clients = [edge.connect() for _ in range(20)]
        for sock in clients:
            sock.sendall(CLOSE)
        hungry = edge.connect(tls=True)
        before = edge.until(lambda status: status["connections_refused_total"] >= 4)
        # Each wakeup of a loop that accepts found no descriptor, and was followed by a rest.
        assert before["wakeups"] <= before["accept_pauses_total"] + before["connections_total"] + 2
        kept.sendall(GET)
        assert kept.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert edge.ask("feed")["connections_total"] == 1
        answers = [answered(sock) for sock in clients]
        turned_away = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
        served = [answer for answer in answers if answer.startswith(b"HTTP/1.1 404 ")]
        assert len(turned_away) + len(served) == 20
        assert 0 < len(turned_away) < 20
        for answer in turned_away:
            assert b"x-ingressd-reason: overload\r\n" in answer
            assert b"\r\nRetry-After: 1\r\n" in answer
        assert hungry.recv(7) == b"\x15\x03\x01\x00\x02\x02\x50"
        again = edge.connect()
        again.sendall(CLOSE)
        assert answered(again).startswith(b"HTTP/1.1 404 ")
    finally:
        log = edge.stop()
    complaints = [line for line in log.splitlines() if "cannot accept" in line]
    assert 1 <= len(complaints) <= 2  # one a listening socket
    assert len(log.splitlines()) <= 4


def test_a_worker_takes_no_more_connections_than_four_fifths_of_its_descriptors() -> None:
    edge = Starved("uvloop")
    try:
        assert edge.first["capacity"] == 80
        clients = [edge.connect() for _ in range(90)]
        for sock in clients:
            sock.sendall(GET)
        for sock in clients[:80]:
            assert sock.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert edge.ask("status")["connections_open"] == 80
        for sock in clients[:10]:
            sock.close()
        for sock in clients[80:]:
            assert sock.recv(65536).startswith(b"HTTP/1.1 404 ")
        status = edge.ask("status")
        assert status["connections_refused_total"] == 0
        assert status["connections_open"] == 80
    finally:
        log = edge.stop()
    assert "at most 80 connections instead of 20000: there are 100 descriptors" in log
    assert "cannot accept" not in log
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100
