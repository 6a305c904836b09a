"""Endpoints that fail: a second attempt where it does no harm, and none where it might."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import site as manifests
from tests.support.backend import OK, Backend, Peer, backend
from tests.support.metrics import sample
from tests.support.program import PATIENCE_S, Program, running
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("clients-retries")


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    """One worker, so that all requests share its idle connections."""
    site = Site(tmp_path / "site")
    starting = running(tmp_path / "log", str(site.folder), "--workers=1", "--access-log=off")
    program = await asyncio.to_thread(starting.__enter__)
    try:
        yield program
    finally:
        await asyncio.to_thread(starting.__exit__, *sys.exc_info())


async def routed(program: Program, tmp_path: Path, *ports: int) -> None:
    """Serve a.localhost from these endpoints."""
    manifests.replace(tmp_path / "site" / "site.yaml", manifests.routed("site", "a.localhost", *ports))
    await asyncio.to_thread(program.until_served, 2)


async def asked(program: Program, method: str, count: int = 1, body: bytes | None = None) -> list[int]:
    """The statuses of requests on one connection, one after the other."""

    def ask() -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", program.port("http"), timeout=PATIENCE_S)
        statuses = []
        with contextlib.closing(connection):
            for _ in range(count):
                connection.request(method, "/", body=body, headers={"Host": "a.localhost"})
                with connection.getresponse() as response:
                    response.read()
                    statuses.append(response.status)
        return statuses

    return await asyncio.to_thread(ask)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return int(closed.getsockname()[1])


async def always_ok(peer: Peer) -> None:
    while True:
        head = await peer.head()
        if head.startswith(b"POST"):
            await peer.read(4)
        await peer.send(OK)


async def once(peer: Peer) -> None:
    """Answer the first request, close without an answer when the second one comes: a keep-alive that ran out."""
    await peer.head()
    await peer.send(OK)
    await peer.head()
    peer.reset()


async def reads_and_closes(peer: Peer) -> None:
    """Take a request, whole, and close without an answer: it may have been processed."""
    head = await peer.head()
    if head.startswith(b"POST"):
        await peer.read(4)


def requests(to: Backend) -> int:
    """How many heads have arrived."""
    return sum(bytes(peer.received).count(b" / HTTP/1.1\r\n") for peer in to.peers)


async def test_an_endpoint_that_refuses_costs_no_request(program: Program, tmp_path: Path) -> None:
    async with backend(always_ok) as good:
        await routed(program, tmp_path, good.port, free_port())
        assert await asked(program, "GET", 50) == [200] * 50
        # Nothing was sent, so anything may be tried again.
        assert await asked(program, "POST", 50, b"body") == [200] * 50
        assert requests(good) == 100


async def test_an_endpoint_that_refuses_is_tried_in_its_turn_and_after_five_times_left_alone(
    program: Program, tmp_path: Path
) -> None:
    async with backend(always_ok) as good:
        await routed(program, tmp_path, good.port, free_port())
        assert await asked(program, "GET", 10) == [200] * 10
        # One second attempt for every second request: a second attempt takes nobody else's turn.
        assert await asyncio.to_thread(sample, program, "ingressd_retries_total") == 5
        assert await asked(program, "GET", 90) == [200] * 90
        assert await asyncio.to_thread(sample, program, "ingressd_retries_total") == 5, "it is ejected"


async def test_all_endpoints_refusing_is_502(program: Program, tmp_path: Path) -> None:
    await routed(program, tmp_path, free_port(), free_port())
    assert await asked(program, "GET", 3) == [502] * 3


async def test_a_connection_that_closes_as_it_is_used_again_costs_no_get(program: Program, tmp_path: Path) -> None:
    async with backend(once) as closing:
        await routed(program, tmp_path, closing.port)
        assert await asked(program, "GET", 30) == [200] * 30
        # Every second request met a connection that was about to close, and went out again on a new one.
        assert len(closing.peers) == 30
        assert requests(closing) == 59


async def test_a_connection_that_the_backend_closes_while_idle_costs_no_request(
    program: Program, tmp_path: Path
) -> None:
    async def one_each(peer: Peer) -> None:
        head = await peer.head()
        if head.startswith(b"POST"):
            await peer.read(4)
        await peer.send(OK)

    async with backend(one_each) as closing:
        await routed(program, tmp_path, closing.port)
        for index in range(20):
            assert await asked(program, "POST", 1, b"body") == [200]
            await (await closing.peer(index)).eof()
        assert requests(closing) == 20


async def test_a_post_that_may_have_been_processed_is_not_repeated(program: Program, tmp_path: Path) -> None:
    async with backend(reads_and_closes) as bad, backend(always_ok) as good:
        await routed(program, tmp_path, bad.port, good.port)
        statuses = await asked(program, "POST", 1, b"body") + await asked(program, "POST", 1, b"body")
        assert sorted(statuses) == [200, 502]
        assert (requests(bad), requests(good)) == (1, 1)


async def test_a_post_on_a_connection_that_closes_as_it_is_used_again_is_not_repeated(
    program: Program, tmp_path: Path
) -> None:
    async with backend(once) as closing:
        await routed(program, tmp_path, closing.port)
        assert await asked(program, "GET") == [200]
        assert await asked(program, "POST", 1, b"body") == [502]
        assert requests(closing) == 2


async def test_a_get_that_was_cut_off_goes_to_the_other_endpoint(program: Program, tmp_path: Path) -> None:
    async with backend(reads_and_closes) as bad, backend(always_ok) as good:
        await routed(program, tmp_path, bad.port, good.port)
        assert await asked(program, "GET", 10) == [200] * 10
        assert requests(good) == 10
        assert requests(bad) >= 5


async def test_an_answer_that_has_begun_is_never_made_anew(program: Program, tmp_path: Path) -> None:
    async def half(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    async with backend(half) as bad, backend(half) as worse:
        await routed(program, tmp_path, bad.port, worse.port)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await asked(program, "GET")
        assert requests(bad) + requests(worse) == 1
