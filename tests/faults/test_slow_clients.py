"""Slow clients, hundreds at once (slowloris): each gets its documented end, and nobody else notices them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support.answers import read_answers
from tests.support.app import BLOCK, app
from tests.support.program import PATIENCE_S, Program, running
from tests.support.site import Site

HOST = "a.localhost"
CLIENTS = 200
PIECE_S = 0.1
"""Between two pieces that a slow client sends: it never stops sending."""
BLOCKS = 64
WINDOW_BYTES = 4096
LOOK_S = 0.05
# A client of the usual kind needs some time for its head, too, on a machine that is busy with the slow ones.
LIMITS = ("--limit=request_head_s=3", "--limit=body_rate_grace_s=1", "--limit=response_write_gap_s=1")

SlowClient = Callable[[int], Awaitable[bytes]]
"""Connects to a port, is slow until it is cut, and returns what it was sent."""


async def trickling(port: int, start: bytes, piece: bytes) -> bytes:
    """Sends `start`, then `piece` again and again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    answer = asyncio.create_task(reader.read(-1))
    try:
        while not answer.done():
            writer.write(piece)
            await asyncio.wait([answer], timeout=PIECE_S)
        return await answer
    finally:
        await closed(writer)


async def slow_head(port: int) -> bytes:
    return await trickling(port, b"GET / HTTP/1.1\r\nHost: a.localhost\r\n", b"X-More: 1\r\n")


async def slow_body(port: int) -> bytes:
    head = b"POST /count HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 1000000\r\n\r\n"
    return await trickling(port, head, b"x")


async def slow_chunks(port: int) -> bytes:
    head = b"POST /count HTTP/1.1\r\nHost: a.localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return await trickling(port, head, b"1\r\nx\r\n")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("slow")
    site = Site(folder / "site")
    with app("quick") as backend:
        site.route(HOST, backend)
        with running(folder / "log", str(site.folder), *LIMITS) as program:
            yield program


@pytest.mark.parametrize("slow", [slow_head, slow_body, slow_chunks])
def test_clients_that_send_slowly_are_answered_408_while_others_are_served(program: Program, slow: SlowClient) -> None:
    answers = asyncio.run(among_others(program, slow))
    for answer in answers:
        (only,), _ = read_answers(answer, ["POST"], closed=True)
        assert only.status == 408, answer
        assert b"x-ingressd-reason: request_timeout" in answer


def test_clients_that_read_nothing_are_cut_while_others_are_served(program: Program) -> None:
    bodies = asyncio.run(among_others(program, lambda port: deaf(program, port)))
    cut = [entry for entry in entries(program) if entry["reason"] == "client_too_slow"]
    assert all(len(body) < BLOCKS * len(BLOCK) for body in bodies)
    assert [entry["status"] for entry in cut] == [200] * CLIENTS


async def deaf(program: Program, port: int) -> bytes:
    """Asks for more than its window takes, and reads nothing before the log says that all of its kind were cut."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, b"GET /download?blocks=%d HTTP/1.1\r\nHost: a.localhost\r\n\r\n" % BLOCKS)
        while program.log.count("client_too_slow") < CLIENTS:
            await asyncio.sleep(1)
        body = b""
        with suppress(ConnectionResetError):
            while data := await loop.sock_recv(sock, 1 << 20):
                body += data
        return body


async def among_others(program: Program, slow: SlowClient) -> list[bytes]:
    """What CLIENTS slow clients got. All the time another one is served, on one connection and on new ones."""
    port = program.port("http")
    async with asyncio.timeout(PATIENCE_S * 2), asyncio.TaskGroup() as group:
        clients = [group.create_task(awaited(slow(port))) for _ in range(CLIENTS)]
        served = 0
        kept = await asyncio.open_connection("127.0.0.1", port)
        while not all(client.done() for client in clients):
            assert (await ask(*kept)).endswith(b"quick")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await ask(reader, writer)).endswith(b"quick")
            await closed(writer)
            served += 1
            await asyncio.sleep(LOOK_S)
        await closed(kept[1])
    assert served
    return [client.result() for client in clients]


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def awaited(answer: Awaitable[bytes]) -> bytes:
    return await answer


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return head + await reader.readexactly(len(b"quick"))


def entries(program: Program) -> list[dict[str, Any]]:
    """Of the access log."""
    return [json.loads(line) for line in program.log.splitlines() if line.startswith('{"time":')]
