"""The websockets library through the proxy: handshakes, messages of any size, pings, closing, and long silence."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.clients.conftest import HOST, TLS_HOST, Edge, serving
from tests.support.app import BLOCK
from tests.support.memory import MIB, Growth
from tests.support.program import PATIENCE_S, until

pytestmark = pytest.mark.xdist_group("clients-websocket")


def opened(edge: Edge, path: str = "/ws", *, host: str = HOST, **more: Any) -> connect:
    """A connection to come; `host` is reached on loopback."""
    return connect(
        f"ws://{host}:{edge.program.port('http')}{path}",
        host="127.0.0.1",
        port=edge.program.port("http"),
        proxy=None,
        max_size=None,
        open_timeout=PATIENCE_S,
        close_timeout=PATIENCE_S,
        ping_interval=None,
        **more,
    )


async def echoed(socket: ClientConnection, message: str | bytes) -> str | bytes:
    await socket.send(message)
    return await asyncio.wait_for(socket.recv(), PATIENCE_S)


async def until_closed_with(edge: Edge, query: str, code: int) -> None:
    """The application has seen the WebSocket of `query` end with `code`."""
    codes = edge.app.close_codes
    assert await asyncio.to_thread(until, lambda: codes.get(query), f"the end of {query} at the application") == code


async def test_text_and_bytes_come_back(edge: Edge) -> None:
    async with opened(edge) as socket:
        assert await echoed(socket, "grüße") == "grüße"
        assert await echoed(socket, b"\x00\xff") == b"\x00\xff"
        for number in range(200):
            assert await echoed(socket, f"{number}") == f"{number}"


async def test_a_subprotocol_is_agreed_on_by_the_two_ends(edge: Edge) -> None:
    async with opened(edge, subprotocols=["chat"]) as socket:
        assert socket.subprotocol == "chat"


async def test_messages_sent_before_any_answer_arrive_in_order(edge: Edge) -> None:
    async with opened(edge) as socket:
        sent = [f"{number}" for number in range(1000)]
        for message in sent:
            await socket.send(message)
        assert [await asyncio.wait_for(socket.recv(), PATIENCE_S) for _ in sent] == sent


async def test_a_ping_is_answered_from_the_other_end(edge: Edge) -> None:
    async with opened(edge) as socket:
        await asyncio.wait_for(await socket.ping(b"are you there"), PATIENCE_S)


async def test_a_large_message_comes_back_and_takes_no_memory(edge: Edge) -> None:
    growth = Growth(edge.program.pids()["workers"])
    message = os.urandom(48 * MIB)
    async with opened(edge) as socket:
        assert await echoed(socket, message) == message
    assert growth.bytes < 16 * MIB


async def test_a_reader_that_pauses_stops_the_sender_and_takes_no_memory(edge: Edge) -> None:
    growth = Growth(edge.program.pids()["workers"])
    blocks = 200 * MIB // len(BLOCK)
    async with opened(edge) as socket:
        edge.app.sent_bytes = 0
        await socket.send(f"flood {blocks}")
        sent = await asyncio.to_thread(until, lambda: edge.app.settled, "the sender to be stopped")
        assert sent < blocks * len(BLOCK)
        for _ in range(blocks):
            assert await asyncio.wait_for(socket.recv(), PATIENCE_S) == BLOCK
    assert growth.bytes < 32 * MIB


async def test_the_clients_close_code_reaches_the_application(edge: Edge) -> None:
    async with opened(edge, "/ws?closed") as socket:
        await echoed(socket, "hello")
        await socket.close(4001, "enough")
    await until_closed_with(edge, "closed", 4001)


async def test_the_applications_close_code_and_words_reach_the_client(edge: Edge) -> None:
    async with opened(edge) as socket:
        await socket.send("close 4002 go away")
        with pytest.raises(ConnectionClosed) as ended:
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4002, "go away")


async def test_a_connection_that_the_application_breaks_ends_for_the_client_without_a_code(edge: Edge) -> None:
    async with opened(edge) as socket:
        await socket.send("abort")
        with pytest.raises(ConnectionClosed) as ended:
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
        assert ended.value.rcvd is None


async def test_a_client_that_vanishes_ends_the_connection_at_the_application(edge: Edge) -> None:
    socket = await opened(edge, "/ws?vanished")
    await echoed(socket, "hello")
    socket.transport.abort()
    await socket.wait_closed()
    await until_closed_with(edge, "vanished", aiohttp.WSCloseCode.ABNORMAL_CLOSURE)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Edge]:
    """An edge whose endpoints may be silent for a second."""
    with serving(tmp_path, "--limit=read_gap_s=1") as edge:
        yield edge


async def test_silence_may_last_longer_than_an_endpoint_may_take_to_answer(impatient: Edge) -> None:
    url, headers = f"http://127.0.0.1:{impatient.program.port('http')}/silent", {"Host": HOST}
    async with opened(impatient) as socket, aiohttp.ClientSession() as session:
        assert await echoed(socket, "before") == "before"
        # Twice in turn a request runs out of its time, while nothing moves on the WebSocket.
        for _ in range(2):
            async with session.get(url, headers=headers) as answer:
                assert (answer.status, answer.headers["x-ingressd-reason"]) == (504, "upstream_timeout")
        assert await echoed(socket, "after") == "after"


async def test_many_at_once_do_not_mix(edge: Edge) -> None:
    async def talk(name: int) -> None:
        async with opened(edge) as socket:
            for number in range(10):
                assert await echoed(socket, f"{name} {number}") == f"{name} {number}"

    await asyncio.gather(*(talk(name) for name in range(50)))


async def test_wss_is_the_same_over_tls(edge: Edge) -> None:
    port = edge.program.port("https")
    trusting = ssl.create_default_context(cafile=str(edge.ca))
    address = {"host": "127.0.0.1", "port": port, "server_hostname": TLS_HOST}
    async with connect(f"wss://{TLS_HOST}:{port}/ws", ssl=trusting, proxy=None, max_size=None, **address) as socket:
        message = os.urandom(2 * MIB)
        assert await echoed(socket, message) == message


async def test_a_handshake_where_no_websocket_is_gets_the_applications_answer(edge: Edge) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(edge, "/other"):
            pass
    assert refused.value.response.status_code == 200
    assert refused.value.response.body == b"the app"


async def test_a_handshake_without_a_route_is_refused_by_the_proxy(edge: Edge) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(edge, host="nobody.localhost"):
            pass
    assert refused.value.response.status_code == 404
    assert refused.value.response.headers["x-ingressd-reason"] == "no_route"
