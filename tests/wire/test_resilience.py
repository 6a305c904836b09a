"""Second attempts, bounds on what endpoints get, and times, with real requests through the edge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ingressd.settings import Limits
from tests.support.backend import OK, Backend, Conversation, Peer, backend, echo
from tests.support.edge import Running
from tests.support.manifest_edge import ingress_yaml, serving_manifests

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"


def manifests(apps: Sequence[Backend], ingress: dict[str, str], service: dict[str, str] | None = None) -> str:
    """An Ingress in front of a Service with these endpoints, the first one of which is picked first."""
    lines = "".join(f"    ingressd.dev/{name}: {value!r}\n" for name, value in (service or {}).items())
    slices = "".join(
        f"""---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: app-{number}, labels: {{kubernetes.io/service-name: app}}}}
addressType: IPv4
ports: [{{port: {app.port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""
        for number, app in enumerate(apps)
    )
    return (
        f"apiVersion: v1\nkind: Service\nmetadata:\n  name: app\n{'  annotations:' if lines else ''}\n{lines}"
        f"spec: {{ports: [{{port: 80}}]}}\n{slices}---\n{ingress_yaml(ingress)}"
    )


def says(answer: bytes) -> Conversation:
    """A backend that says this to every request, and keeps the connection."""

    async def conversation(peer: Peer) -> None:
        while True:
            head = await peer.head()
            if b"Content-Length: 4\r\n" in head:
                await peer.read(4)
            await peer.send(answer)

    return conversation


async def resets(peer: Peer) -> None:
    await peer.head()
    peer.reset()


async def silent(peer: Peer) -> None:
    await peer.head()
    await peer.eof()


BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def statuses(edge: Running, count: int, request: bytes = GET) -> list[int]:
    return [status(await edge.exchange(request)) for _ in range(count)]


async def test_a_status_that_the_policy_names_goes_to_another_endpoint() -> None:
    async with backend(says(BUSY)) as busy, backend(says(OK)) as good:
        async with serving_manifests(manifests([busy, good], {"proxy-next-upstream": "error http_503"})) as edge:
            assert await statuses(edge, 6) == [200] * 6
            assert busy.peers
            assert await statuses(edge, 4, POST) in ([503, 200] * 2, [200, 503] * 2)
        repeated = {"proxy-next-upstream": "http_503 non_idempotent"}
        async with serving_manifests(manifests([busy, good], repeated)) as edge:
            assert await statuses(edge, 4, POST) == [200] * 4


async def test_when_all_endpoints_say_it_the_last_answer_passes() -> None:
    async with (
        backend(says(BUSY)) as one,
        backend(says(BUSY)) as two,
        serving_manifests(manifests([one, two], {"proxy-next-upstream": "http_503"})) as edge,
    ):
        answer = await edge.exchange(GET)
        assert status(answer) == 503
        assert answer.endswith(b"busy")
        (entry,) = await edge.logged(1)
        assert entry.attempts == 2


async def test_a_large_answer_that_is_not_taken_is_never_mixed_with_the_one_that_is() -> None:
    large = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000

    async with (
        backend(says(large)) as bad,
        backend(says(OK)) as good,
        serving_manifests(manifests([bad, good], {"proxy-next-upstream": "http_502"})) as edge,
    ):
        for _ in range(4):
            answer = await edge.exchange(GET)
            assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("annotations", "status_"),
    [
        ({}, 200),
        ({"proxy-next-upstream": "off"}, 502),
        ({"proxy-next-upstream": "timeout"}, 502),
        ({"proxy-next-upstream-tries": "1"}, 502),
        ({"proxy-next-upstream": "error"}, 200),
    ],
)
async def test_a_reset_is_repeated_as_the_policy_says(annotations: dict[str, str], status_: int) -> None:
    async with (
        backend(resets) as bad,
        backend(says(OK)) as good,
        serving_manifests(manifests([bad, good], annotations)) as edge,
    ):
        assert set(await statuses(edge, 2)) == {200, status_}


async def test_silence_is_repeated_for_ingresses_of_ingress_nginx_and_not_for_others() -> None:
    async with backend(silent) as bad, backend(says(OK)) as good:
        async with serving_manifests(manifests([bad, good], {"proxy-read-timeout": "1"})) as edge:
            assert await statuses(edge, 2) == [200, 200]
        async with serving_manifests(manifests([bad, good], {"ingressd.dev/per-try-timeout": "1"})) as edge:
            assert sorted(await statuses(edge, 2)) == [200, 504]


async def test_a_request_is_over_when_its_time_is() -> None:
    async def trickle(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.05)

    async with (
        backend(silent) as bad,
        serving_manifests(manifests([bad], {"ingressd.dev/request-timeout": "1"})) as edge,
    ):
        assert await statuses(edge, 1) == [504]
    async with (
        backend(trickle) as slow,
        serving_manifests(manifests([slow], {"ingressd.dev/request-timeout": "1"})) as edge,
    ):
        reader, writer = await edge.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 20)
        (entry,) = await edge.logged(1)
        assert (entry.status, entry.reason) == (200, "upstream_timeout")


async def test_requests_beyond_the_bound_wait_and_those_beyond_that_are_refused() -> None:
    arrived, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def conversation(peer: Peer) -> None:
        while True:
            await peer.head()
            arrived.release()
            await go_on.wait()
            await peer.send(OK)

    bounds = {"max-requests": "2", "max-pending-requests": "1", "pending-timeout": "60s"}
    async with backend(conversation) as app, serving_manifests(manifests([app], {}, bounds)) as edge:
        begun = [asyncio.ensure_future(edge.exchange(GET)) for _ in range(2)]
        for _ in begun:
            await arrived.acquire()
        waiting = asyncio.ensure_future(edge.exchange(GET))
        while edge.edge.upstreams()[0]["breaker"] != {"requests": 2, "pending": 1, "overflows": 0}:
            await asyncio.sleep(0)
        refused = await edge.exchange(GET)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"x-ingressd-reason: overflow" in refused
        go_on.set()
        assert [status(await each) for each in (*begun, waiting)] == [200] * 3
        await edge.logged(4)
        assert edge.edge.upstreams()[0]["breaker"] == {"requests": 0, "pending": 0, "overflows": 1}


async def test_one_that_waits_for_too_long_is_refused_and_a_client_that_leaves_waits_no_more() -> None:
    begun = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        begun.set()
        await peer.eof()

    bounds = {"max-connections": "1", "pending-timeout": "300ms"}
    async with backend(conversation) as app, serving_manifests(manifests([app], {}, bounds)) as edge:
        _, first = await edge.connect()
        first.write(GET)
        await begun.wait()
        assert status(await edge.exchange(GET)) == 503
        _, second = await edge.connect()
        second.write(GET)
        while edge.edge.upstreams()[0]["breaker"] != {"requests": 1, "pending": 1, "overflows": 1}:
            await asyncio.sleep(0)
        second.close()
        await edge.logged(2)
        assert edge.edge.upstreams()[0]["breaker"] == {"requests": 1, "pending": 0, "overflows": 1}
        first.close()
        await edge.logged(3)
        assert edge.edge.upstreams()[0]["breaker"] == {"requests": 0, "pending": 0, "overflows": 1}


async def test_second_attempts_have_a_budget() -> None:
    """Ten requests are reset at once: three of them may be repeated, and the others are not."""
    gate = asyncio.Event()
    arrived = asyncio.Semaphore(0)

    async def conversation(peer: Peer) -> None:
        await peer.head()
        arrived.release()
        await gate.wait()
        peer.reset()

    limits = Limits(retries_least=3, retry_percent=0)
    async with (
        backend(conversation) as one,
        backend(conversation) as two,
        serving_manifests(manifests([one, two], {}), limits=limits) as edge,
    ):
        asked = [asyncio.ensure_future(edge.exchange(GET)) for _ in range(10)]
        for _ in asked:
            await arrived.acquire()
        gate.set()
        assert {status(await each) for each in asked} == {502}
        assert edge.stats.retries_total <= 3 * 10
        assert sum(entry.attempts - 1 for entry in await edge.logged(10)) == edge.stats.retries_total
        assert edge.edge.upstreams()[0]["retrying"] == 0


async def test_so_many_wait_for_a_connection_that_one_more_is_refused() -> None:
    async with (
        backend(echo) as app,
        serving_manifests(manifests([app], {}), limits=Limits(pending_requests=0)) as edge,
    ):
        answer = await edge.exchange(GET)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"x-ingressd-reason: overflow" in answer
