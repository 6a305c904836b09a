"""Many, slow and silent clients of the admin port, and the rest of the loop meanwhile; on both event loops."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ingressd.admin import connections
from ingressd.admin.long_answers import SENT_AT_ONCE
from ingressd.admin.server import AdminServer
from ingressd.settings import Settings
from tests.support.certificates import trusting
from tests.support.loops import on_both_loops
from tests.unit.admin.test_credentials import settings
from tests.unit.admin.test_server import EmptyView

ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIST = ASK.replace(b"/healthz", b"/api/v1/routes")
LIST_BYTES = 10_000_000
"""More than the buffers of a connection hold."""
PATIENCE_S = 20

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LongView(EmptyView):
    """A View with more to tell than sockets hold, and metrics that wait."""

    def __init__(self) -> None:
        self.asked = 0
        self.listed = 0
        self.release = asyncio.Event()

    def routes(self) -> list[dict[str, Any]]:
        self.listed += 1
        return [{"host": "x" * 1000}] * 10_000

    async def metrics(self) -> bytes:
        self.asked += 1
        await self.release.wait()
        return b"done"


class Port:
    """A running admin server and its clients."""

    def __init__(self, number: int, view: LongView, server: AdminServer) -> None:
        self.number = number
        self.view = view
        self._server = server
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, sent: bytes = b"", context: ssl.SSLContext | None = None) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number, ssl=context)
        self._writers.append(writer)
        writer.write(sent)
        return reader, writer

    async def until_busy(self, clients: int) -> None:
        """So many are being answered."""
        assert self._server._connections is not None
        opened = self._server._connections._open
        async with asyncio.timeout(PATIENCE_S):
            while sum(connection.answering for connection in opened.values()) < clients:
                await asyncio.sleep(0.001)

    async def until_open(self, clients: int) -> None:
        """So many are connected."""
        assert self._server._connections is not None
        async with asyncio.timeout(PATIENCE_S):
            while len(self._server._connections._open) < clients:
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        await self._server.close()

    async def until_gone(self) -> None:
        """Nobody is connected."""
        assert self._server._connections is not None
        async with asyncio.timeout(PATIENCE_S):
            while self._server._connections._open:
                await asyncio.sleep(0.001)

    def leave(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def serving(given: Settings | None = None) -> AsyncIterator[Port]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    view = LongView()
    server = AdminServer(view, given or Settings())
    port = Port(sock.getsockname()[1], view, server)
    await server.start([sock])
    try:
        yield port
    finally:
        port.leave()
        view.release.set()
        await server.close()


async def answered(client: Client) -> bytes:
    """Its status line; empty when the connection ended without one."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            line = await client[0].readline()
            return line.strip()
        except ConnectionError:
            return b""


async def ended(client: Client) -> bytes:
    """Everything until the end of the connection."""
    async with asyncio.timeout(PATIENCE_S):
        data = b""
        try:
            while piece := await client[0].read(65536):
                data += piece
        except ConnectionError:
            pass
        return data


@on_both_loops
async def test_as_many_as_may_be_are_served_and_one_more_takes_the_place_of_the_oldest_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 5)
    async with serving() as port:
        clients = [await port.connect(ASK) for _ in range(5)]
        for client in clients:
            assert await answered(client) == b"HTTP/1.1 200 OK"
        newest = await port.connect(ASK)
        assert await answered(newest) == b"HTTP/1.1 200 OK"
        await ended(clients[0])
        for client in clients[1:]:
            await client[0].readuntil(b"ok\n")
            client[1].write(ASK)
            assert await answered(client) == b"HTTP/1.1 200 OK"


@on_both_loops
async def test_a_flood_of_silent_clients_does_not_keep_a_probe_out() -> None:
    async with serving() as port:
        for _ in range(connections.CONNECTIONS * 2):
            await port.connect(b"GET /healthz HT")
        assert await answered(await port.connect(ASK)) == b"HTTP/1.1 200 OK"


@on_both_loops
async def test_nobody_who_is_being_answered_has_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 2)
    async with serving() as port:
        busy = [await port.connect(ASK.replace(b"/healthz", b"/metrics")) for _ in range(2)]
        await port.until_busy(2)
        assert await answered(await port.connect(ASK)) == b""
        assert await answered(await port.connect(ASK)) == b""
        port.view.release.set()
        for client in busy:
            assert await answered(client) == b"HTTP/1.1 200 OK"


@on_both_loops
async def test_long_pages_are_made_one_at_a_time_and_probes_do_not_wait_for_them() -> None:
    async with serving() as port:
        waiting = [await port.connect(ASK.replace(b"/healthz", b"/metrics")) for _ in range(20)]
        await port.until_busy(20)
        assert await answered(await port.connect(ASK)) == b"HTTP/1.1 200 OK"
        assert port.view.asked == 1
        port.view.release.set()
        for client in waiting:
            assert await answered(client) == b"HTTP/1.1 200 OK"
        assert port.view.asked == 20


@pytest.mark.parametrize("sent", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
@on_both_loops
async def test_a_head_that_does_not_end_is_cut(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.05)
    async with serving() as port:
        assert await ended(await port.connect(sent)) == b""


@on_both_loops
async def test_a_later_head_has_the_same_time_also_when_it_came_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    async with serving() as port:
        later = await port.connect(ASK)
        await later[0].readuntil(b"ok\n")
        later[1].write(b"GET /")
        early = await port.connect(ASK.replace(b"/healthz", b"/metrics"))
        await port.until_busy(1)
        early[1].write(b"GET /")
        port.view.release.set()
        assert await ended(later) == b""
        assert (await ended(early)).endswith(b"done")


@on_both_loops
async def test_a_connection_that_idles_is_not_cut_by_the_time_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.05)
    async with serving() as port:
        idle = await port.connect(ASK)
        await idle[0].readuntil(b"ok\n")
        assert await ended(await port.connect()) == b""  # connected later, and its time is over
        idle[1].write(ASK)
        assert await answered(idle) == b"HTTP/1.1 200 OK"


@on_both_loops
async def test_a_client_that_does_not_read_its_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.3)
    async with serving() as port:
        client = await port.connect(LIST)
        client[1].transport.pause_reading()  # type: ignore[attr-defined]
        await port.until_busy(1)
        await port.until_gone()
        client[1].transport.resume_reading()  # type: ignore[attr-defined]
        assert 0 < len(await ended(client)) < LIST_BYTES


@on_both_loops
async def test_an_idle_connection_is_not_cut_by_the_time_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.05)
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    async with serving() as port:
        idle = await port.connect(ASK)
        await idle[0].readuntil(b"ok\n")
        assert await ended(await port.connect()) == b""  # its time was longer, and is over
        idle[1].write(ASK)
        assert await answered(idle) == b"HTTP/1.1 200 OK"


@on_both_loops
async def test_clients_that_do_not_read_hold_a_few_pages_in_memory_and_no_more() -> None:
    async with serving() as port:
        for _ in range(connections.CONNECTIONS - 1):
            client = await port.connect(LIST)
            client[1].transport.pause_reading()  # type: ignore[attr-defined]
        await port.until_busy(connections.CONNECTIONS - 1)
        assert await answered(await port.connect(ASK)) == b"HTTP/1.1 200 OK"
        assert port.view.listed <= SENT_AT_ONCE


@on_both_loops
async def test_a_long_answer_is_whole_and_a_client_that_leaves_in_it_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as port:
        leaver = await port.connect(LIST)
        await leaver[0].readexactly(1000)
        leaver[1].transport.abort()
        answer = await ended(await port.connect(LIST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert json.loads(body) == port.view.routes()
        head = await ended(
            await port.connect(LIST.replace(b"GET", b"HEAD").replace(b"Host", b"Connection: close\r\nHost"))
        )
        assert f"Content-Length: {len(body)}".encode() in head
        assert head.endswith(b"\r\n\r\n")
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@on_both_loops
async def test_with_a_certificate_the_port_speaks_https_and_nothing_else(tmp_path: Path) -> None:
    async with serving(settings(tmp_path, "", "admin.test")) as port:
        assert await answered(await port.connect(ASK, trusting())) == b"HTTP/1.1 200 OK"
        assert b"200" not in await ended(await port.connect(ASK))


@on_both_loops
async def test_a_handshake_that_does_not_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.05)
    async with serving(settings(tmp_path, "", "admin.test")) as port:
        assert await ended(await port.connect(b"\x16\x03\x01")) == b""
        assert await answered(await port.connect(ASK, trusting())) == b"HTTP/1.1 200 OK"


@on_both_loops
async def test_handshakes_count_as_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    async with serving(settings(tmp_path, "", "admin.test")) as port:
        silent = [await port.connect() for _ in range(3)]
        assert await answered(await port.connect(ASK, trusting())) == b"HTTP/1.1 200 OK"
        assert await ended(silent[0]) == b""


@on_both_loops
async def test_who_was_accepted_last_is_answered_before_the_port_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_S", PATIENCE_S)
    async with serving() as port:
        asks, idles = await port.connect(), await port.connect(ASK)
        assert await answered(idles) == b"HTTP/1.1 200 OK"
        await port.until_open(2)
        closing = asyncio.create_task(port.close())
        await idles[0].readuntil(b"ok\n")
        asks[1].write(ASK)
        assert await answered(asks) == b"HTTP/1.1 200 OK"
        await closing


@on_both_loops
async def test_who_never_asks_does_not_keep_the_port_from_closing() -> None:
    async with serving() as port:
        silent = await port.connect()
        await port.until_open(1)
        await port.close()
        assert await ended(silent) == b""
