"""aiohttp's client through the proxy: its pool of connections, streams in both directions, events one by one."""

from __future__ import annotations

import asyncio
import hashlib
import io
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.clients.conftest import TLS_HOST, Edge
from tests.support.app import BLOCK, GZIPPED
from tests.support.memory import MIB
from tests.support.metrics import sample
from tests.support.program import PATIENCE_S, until

pytestmark = pytest.mark.xdist_group("clients-aiohttp")


class Loopback(AbstractResolver):
    """Every name is 127.0.0.1."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        place = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        return [place]

    async def close(self) -> None:
        pass


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """One connection at most, so that it is seen whether it is used again."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    connector = aiohttp.TCPConnector(limit=1, resolver=Loopback())
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


def connections(edge: Edge) -> float:
    """How many the proxy has accepted so far."""
    return sample(edge.program, "ingressd_connections_total")


async def test_one_connection_carries_all_requests_of_a_pool(edge: Edge, session: aiohttp.ClientSession) -> None:
    before = await asyncio.to_thread(connections, edge)

    async def one(number: int) -> None:
        method = ("GET", "POST", "PUT", "DELETE", "HEAD")[number % 5]
        data = b"x" * number if method in {"POST", "PUT"} else None
        async with session.request(method, edge.http(f"/seen?n={number}"), data=data) as answer:
            assert answer.status == 200
            if method != "HEAD":
                seen = await answer.json()
                assert (seen["method"], seen["target"], seen["body"]) == (
                    method,
                    f"/seen?n={number}",
                    "" if data is None else data.decode(),
                )

    await asyncio.gather(*(one(number) for number in range(100)))
    assert await asyncio.to_thread(connections, edge) == before + 1


async def test_a_local_reply_does_not_cost_the_connection(edge: Edge, session: aiohttp.ClientSession) -> None:
    before = await asyncio.to_thread(connections, edge)
    for _ in range(5):
        async with session.get(edge.http("/"), headers={"Host": "nobody.localhost"}) as answer:
            assert (answer.status, answer.headers["x-ingressd-reason"]) == (404, "no_route")
        async with session.get(edge.http("/")) as answer:
            assert await answer.text() == "the app"
    assert await asyncio.to_thread(connections, edge) == before + 1


async def test_answers_to_pieces_arrive_while_the_request_is_still_being_sent(
    edge: Edge, session: aiohttp.ClientSession
) -> None:
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while (piece := await pieces.get()) is not None:
            yield piece

    pieces.put_nowait(b"piece 0")
    async with session.post(edge.http("/echo"), data=body()) as answer:
        for number in range(50):
            piece = f"piece {number}".encode()
            assert await answer.content.readexactly(len(piece)) == piece
            # The next piece exists only now: this one came back before the request had ended.
            pieces.put_nowait(f"piece {number + 1}".encode())
        pieces.put_nowait(None)
        assert await answer.content.read() == b"piece 50"


async def test_an_event_arrives_before_the_next_one_is_sent(edge: Edge, session: aiohttp.ClientSession) -> None:
    edge.app.publish("0")
    async with session.get(edge.http("/events")) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        for number in range(100):
            assert await answer.content.readline() == f"data: {number}\n".encode()
            assert await answer.content.readline() == b"\n"
            edge.app.publish(f"{number + 1}")
        assert await answer.content.readline() == b"data: 100\n"
        edge.app.publish(None)
        assert await answer.content.read() == b"\n"


async def test_events_arrive_one_by_one_over_tls_too(edge: Edge, session: aiohttp.ClientSession) -> None:
    trusting = ssl.create_default_context(cafile=str(edge.ca))
    edge.app.publish("0")
    async with session.get(edge.https("/events"), ssl=trusting) as answer:
        for number in range(20):
            assert await answer.content.readline() == f"data: {number}\n".encode()
            assert await answer.content.readline() == b"\n"
            edge.app.publish(None if number == 19 else f"{number + 1}")
        assert await answer.content.read() == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_arrives_whole(edge: Edge, session: aiohttp.ClientSession, framing: str) -> None:
    body = bytes(range(251)) * (8 * MIB // 251)

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 7919):
            yield body[at : at + 7919]

    data: Any = io.BytesIO(body) if framing == "length" else in_pieces()
    async with session.post(edge.http("/count"), data=data) as answer:
        assert await answer.json() == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


async def test_a_download_arrives_whole(edge: Edge, session: aiohttp.ClientSession) -> None:
    async with session.get(edge.http("/download?blocks=256")) as answer:
        assert answer.content_length == 256 * len(BLOCK)
        assert await answer.read() == BLOCK * 256


async def test_a_packed_body_is_left_packed(edge: Edge, session: aiohttp.ClientSession) -> None:
    async with session.get(edge.http("/gzip"), auto_decompress=False) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == GZIPPED


async def test_a_redirect_to_https_is_followed(edge: Edge, session: aiohttp.ClientSession) -> None:
    trusting = ssl.create_default_context(cafile=str(edge.ca))
    url = f"http://{TLS_HOST}:{edge.program.port('http')}/seen"
    async with session.put(url, data=b"kept", ssl=trusting) as answer:
        seen = await answer.json()
        assert (str(answer.url), seen["method"], seen["body"]) == (edge.https("/seen"), "PUT", "kept")
        assert [each.status for each in answer.history] == [308]


async def test_a_request_that_is_given_up_ends_at_the_application(edge: Edge, session: aiohttp.ClientSession) -> None:
    edge.app.publish("0")
    cut = edge.app.streams_cut
    async with session.get(edge.http("/events")) as answer:
        assert await answer.content.readline() == b"data: 0\n"
    # Left without reading to the end: the client closes its connection.
    await asyncio.to_thread(until, lambda: edge.app.streams_cut > cut, "the end of the stream")
