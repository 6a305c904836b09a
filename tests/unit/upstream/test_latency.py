"""How long endpoints take, measured through a running edge with real backends."""

from __future__ import annotations

import asyncio

from ingressd.upstream.endpoint import FAILED_S, EndpointState
from tests.support.backend import OK, Peer, backend
from tests.support.edge import Running, listening, running, snapshot

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
WAIT_S = 0.2


def _endpoints(edge: Running) -> tuple[EndpointState, ...]:
    return edge.edge.context.registry.pools["default/app:80"].endpoints


async def _after_a_while(peer: Peer) -> None:
    await peer.head()
    await asyncio.sleep(WAIT_S)
    await peer.send(OK)
    await peer.eof()


async def _early(peer: Peer) -> None:
    await peer.until(b"\r\n\r\n")
    await peer.send(OK)
    await peer.eof()


async def _body_after_a_while(peer: Peer) -> None:
    await peer.head()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    await asyncio.sleep(WAIT_S)
    await peer.send(b"ok")
    await peer.eof()


async def test_the_time_to_the_head_of_a_response_is_measured() -> None:
    async with backend(_after_a_while) as app, running(snapshot([app.port])) as edge:
        assert (await edge.exchange(GET)).startswith(b"HTTP/1.1 200")
        (endpoint,) = _endpoints(edge)
        assert endpoint.latency_s >= WAIT_S
        assert endpoint.latency_at > 0


async def test_the_time_of_a_body_is_not() -> None:
    """A large answer, or a client that reads slowly, does not make an endpoint slow."""
    async with backend(_body_after_a_while) as app, running(snapshot([app.port])) as edge:
        before = asyncio.get_running_loop().time()
        assert (await edge.exchange(GET)).endswith(b"ok")
        whole = asyncio.get_running_loop().time() - before
        (endpoint,) = _endpoints(edge)
        assert 0 < endpoint.latency_s <= whole - WAIT_S


async def test_an_answer_before_the_end_of_the_request_says_nothing() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf"
    async with backend(_early) as app, running(snapshot([app.port])) as edge:
        assert (await edge.exchange(request)).startswith(b"HTTP/1.1 200")
        (endpoint,) = _endpoints(edge)
        assert (endpoint.latency_s, endpoint.latency_at) == (0.0, 0.0)


async def test_an_endpoint_that_refuses_counts_as_slow_and_ewma_leaves_it_alone() -> None:
    closed = listening()
    port = closed.getsockname()[1]
    closed.close()

    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.eof()

    async with backend(answer) as app, running(snapshot([port, app.port], scheduler="ewma")) as edge:
        for _ in range(20):
            assert (await edge.exchange(GET)).startswith(b"HTTP/1.1 200")
        refuses, answers = _endpoints(edge)
        assert refuses.latency_s == FAILED_S
        assert (refuses.failures, answers.picks) == (1, 20)


async def test_a_stale_connection_does_not_make_an_endpoint_slow() -> None:
    async def one_then_close(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.head()

    async with backend(one_then_close) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), 10)
        (endpoint,) = _endpoints(edge)
        assert endpoint.failures == 1
        assert endpoint.latency_s < FAILED_S
