"""Endpoints that fail are left out for a while, and come back: a whole edge before real backends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from ingressd.table.health import OutlierDetection
from tests.support.backend import OK, Backend, Peer, backend
from tests.support.edge import Running, running, snapshot

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
AWAY_S = 0.4
DETECTION = OutlierDetection(consecutive_failures=3, base_ejection_s=AWAY_S)


class Flapping:
    """An endpoint that does what a test wants at the moment."""

    def __init__(self) -> None:
        self.mood = "well"
        self.requests = 0
        self.asked = asyncio.Event()
        self.backend: Backend

    async def serve(self, peer: Peer) -> None:
        while True:
            await peer.head()
            self.requests += 1
            self.asked.set()
            match self.mood:
                case "resets":
                    peer.reset()
                    return
                case "errs":
                    await peer.send(ERROR)
                case "hangs":
                    await peer.eof()
                    return
                case _:
                    await peer.send(OK)


@asynccontextmanager
async def site(detection: OutlierDetection) -> AsyncIterator[tuple[Running, Flapping]]:
    """An edge before an endpoint that flaps and one that is always well."""
    flapping, well = Flapping(), Flapping()
    async with (
        backend(flapping.serve) as one,
        backend(well.serve) as other,
        running(snapshot([one.port, other.port], outliers=detection)) as edge,
    ):
        yield edge, flapping


async def statuses(edge: Running, count: int) -> list[bytes]:
    return [(await edge.exchange(GET))[9:12] for _ in range(count)]


async def until_asked(edge: Running, flapping: Flapping) -> None:
    """Requests until the endpoint gets one of them."""
    flapping.asked.clear()
    async with asyncio.timeout(20):
        while not flapping.asked.is_set():
            assert await statuses(edge, 1) == [b"200"]


async def test_a_flapping_endpoint_is_ejected_and_returns_without_a_failed_request() -> None:
    async with site(DETECTION) as (edge, flapping):
        for ejection in (1, 2):
            flapping.mood = "well"
            await until_asked(edge, flapping)
            assert _shown(edge)["ejected_s"] == 0
            flapping.mood = "resets"
            async with asyncio.timeout(20):
                while _shown(edge)["ejections"] != ejection:
                    assert await statuses(edge, 1) == [b"200"]
        assert {entry.attempts for entry in await edge.logged(1)} == {1, 2}


async def test_an_endpoint_is_not_asked_while_it_is_ejected() -> None:
    async with site(replace(DETECTION, base_ejection_s=3600.0, max_ejection_s=3600.0)) as (edge, flapping):
        flapping.mood = "resets"
        assert set(await statuses(edge, 30)) == {b"200"}
        assert (flapping.requests, _shown(edge)["ejections"]) == (3, 1)
        entries = await edge.logged(30)
        assert [entry.attempts for entry in entries[-20:]] == [1] * 20


async def test_who_answers_with_errors_is_ejected_only_when_that_is_asked_for() -> None:
    async with site(DETECTION) as (edge, flapping):
        flapping.mood = "errs"
        assert sorted(set(await statuses(edge, 20))) == [b"200", b"500"]
        assert _shown(edge)["ejections"] == 0
    detection = OutlierDetection(consecutive_5xx=3, base_ejection_s=3600.0, max_ejection_s=3600.0)
    async with site(detection) as (edge, flapping):
        flapping.mood = "errs"
        assert (await statuses(edge, 20)).count(b"500") == 3
        assert flapping.requests == 3
        assert _shown(edge)["ejections"] == 1


async def test_a_client_that_goes_away_is_not_the_endpoints_fault() -> None:
    detection = OutlierDetection(consecutive_failures=1, consecutive_gateway_failures=1, consecutive_5xx=1)
    async with site(detection) as (edge, flapping):
        flapping.mood = "hangs"
        for _ in range(5):
            flapping.asked.clear()
            while not flapping.asked.is_set():
                reader, writer = await edge.connect()
                writer.write(GET)
                waits = [asyncio.ensure_future(each) for each in (flapping.asked.wait(), reader.read())]
                await asyncio.wait(waits, timeout=20, return_when=asyncio.FIRST_COMPLETED)
                for each in waits:
                    each.cancel()
                writer.close()
        async with asyncio.timeout(20):
            while _shown(edge)["active"]:
                await asyncio.sleep(0.005)
        assert (_shown(edge)["ejections"], _shown(edge)["failures"]) == (0, 0)


def _shown(edge: Running) -> dict[str, object]:
    """What the worker shows of the endpoint that flaps."""
    endpoints = edge.edge.upstreams()[0]["endpoints"]
    assert isinstance(endpoints, list)
    shown: dict[str, object] = endpoints[0]
    return shown
