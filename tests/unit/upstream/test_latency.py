"""How long endpoints take: what a connection to a real backend tells its endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ingressd.clock import Wheel
from ingressd.settings import Limits
from ingressd.table.policy import DEFAULT_POLICY
from ingressd.table.pool import Pool
from ingressd.upstream.connection import UpstreamConnection
from ingressd.upstream.dial import DialFailed, dial
from ingressd.upstream.endpoint import FAILED_S, EndpointState
from tests.support.backend import OK, Conversation, Peer, backend
from tests.support.edge import listening, running, snapshot

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
POOL = Pool(id="default/app:80", namespace="default", service="app", port="80")
WAIT_S = 0.2


class Sink:
    """Takes one response, or its failure."""

    def __init__(self) -> None:
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.started = asyncio.Event()

    def response_started(self, *parts: object) -> None:
        self.started.set()
        if parts[-1]:
            self.done.set_result("whole")

    def response_body(self, _pieces: list[bytes], ended: bool) -> None:
        if ended:
            self.done.set_result("whole")

    def upstream_failed(self, *_: object, untouched: bool) -> None:
        self.done.set_result("untouched" if untouched else "cut")


def begin(connection: UpstreamConnection, *, last: bool = True) -> Sink:
    """Send a request; `last` False: it goes on for ever."""
    sink = Sink()
    connection.begin(sink, DEFAULT_POLICY, "GET", upgrade=False)  # type: ignore[arg-type]
    connection.send(GET, last=last)
    return sink


async def ask(connection: UpstreamConnection, *, last: bool = True) -> str:
    """One whole exchange."""
    return await asyncio.wait_for(begin(connection, last=last).done, 10)


def state(port: int) -> EndpointState:
    endpoint = EndpointState("127.0.0.1", port, f"127.0.0.1:{port}", None, Limits())
    endpoint.references = 1
    return endpoint


@asynccontextmanager
async def connected(conversation: Conversation) -> AsyncIterator[UpstreamConnection]:
    """A connection to a backend that does this."""
    async with backend(conversation) as app:
        limits = Limits()
        connection = await dial(state(app.port), 5, limits, Wheel(asyncio.get_running_loop()))
        yield connection
        connection.close()
        await asyncio.sleep(0)


async def _after_a_while(peer: Peer) -> None:
    await peer.head()
    await asyncio.sleep(WAIT_S)
    await peer.send(OK)
    await peer.eof()


async def _at_once(peer: Peer) -> None:
    while True:
        await peer.head()
        await peer.send(OK)


async def _one_then_close(peer: Peer) -> None:
    await peer.head()
    await peer.send(OK)
    await peer.head()


async def test_the_time_to_the_head_of_a_response_is_measured() -> None:
    async with connected(_after_a_while) as connection:
        assert await ask(connection) == "whole"
        assert connection.endpoint.latency_s > WAIT_S * 0.9
        assert connection.endpoint.latency_at > 0


async def test_the_time_of_a_body_is_not() -> None:
    """A large answer, or a client that reads slowly, does not make an endpoint slow."""
    go_on = asyncio.Event()

    async def in_two(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await go_on.wait()
        await peer.send(b"ok")
        await peer.eof()

    async with connected(in_two) as connection:
        sink = begin(connection)
        await asyncio.wait_for(sink.started.wait(), 10)
        measured = connection.endpoint.latency_s, connection.endpoint.latency_at
        go_on.set()
        assert await asyncio.wait_for(sink.done, 10) == "whole"
        assert measured == (connection.endpoint.latency_s, connection.endpoint.latency_at)
        assert measured[0] > 0


async def test_an_answer_before_the_end_of_the_request_says_nothing() -> None:
    async with connected(_at_once) as connection:
        assert await ask(connection, last=False) == "whole"
        assert (connection.endpoint.latency_s, connection.endpoint.latency_at) == (0.0, 0.0)


async def test_an_idle_connection_that_was_closed_does_not_make_an_endpoint_slow() -> None:
    async with connected(_one_then_close) as connection:
        assert await ask(connection) == "whole"
        assert await ask(connection) == "untouched"
        assert connection.endpoint.failures == 1
        assert 0 < connection.endpoint.latency_s < FAILED_S


async def test_a_new_connection_that_breaks_does() -> None:
    async def no_answer(peer: Peer) -> None:
        await peer.head()

    async with connected(no_answer) as connection:
        assert await ask(connection) == "untouched"
        assert (connection.endpoint.failures, connection.endpoint.latency_s) == (1, FAILED_S)


def _refusing() -> int:
    """A port that nobody listens on."""
    closed = listening()
    port = int(closed.getsockname()[1])
    closed.close()
    return port


async def test_an_endpoint_that_refuses_does() -> None:
    endpoint = state(_refusing())
    with pytest.raises(DialFailed):
        await dial(endpoint, 5, Limits(), Wheel(asyncio.get_running_loop()))
    assert (endpoint.failures, endpoint.latency_s) == (1, FAILED_S)


async def test_ewma_begins_at_an_endpoint_that_refuses_once_only() -> None:
    async with backend(_at_once) as app, running(snapshot([_refusing(), app.port], scheduler="ewma")) as edge:
        for _ in range(20):
            answer = await edge.exchange(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert answer.startswith(b"HTTP/1.1 200")
        attempts = [entry.attempts for entry in await edge.logged(20)]
        assert sum(attempts) in (20, 21), "the first draw may be the endpoint that answers"
        assert attempts[5:] == [1] * 15
