"""Limits of clients, with real requests through the edge."""

from __future__ import annotations

import asyncio

from tests.support.backend import OK, Peer, backend, echo
from tests.support.manifest_edge import ingress_yaml, service_yaml, serving_manifests

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


def head(answer: bytes) -> tuple[bytes, list[bytes]]:
    start, *lines = answer.split(b"\r\n\r\n")[0].split(b"\r\n")
    return start.split(b" ")[1], lines


async def test_above_the_rate_is_503_with_retry_after_and_the_endpoint_sees_nothing_of_it() -> None:
    async with backend(echo) as app:
        annotations = {"limit-rpm": "1", "limit-burst-multiplier": "1"}
        async with serving_manifests(service_yaml({"app": app.port}) + ingress_yaml(annotations)) as edge:
            answers = [head(await edge.exchange(GET)) for _ in range(3)]
            assert [status for status, _ in answers] == [b"200", b"200", b"503"]
            assert b"x-ingressd-reason: rate_limited" in answers[2][1]
            assert b"Retry-After: 60" in answers[2][1]
            assert sum(bytes(peer.received).count(b"GET / ") for peer in app.peers) == 2


async def test_a_request_is_open_until_its_answer_is_whole() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        begun.set()
        await go_on.wait()
        await peer.send(OK)

    async with backend(conversation) as app:
        annotations = {"limit-connections": "1", "ingressd.dev/limit-status": "429"}
        async with serving_manifests(service_yaml({"app": app.port}) + ingress_yaml(annotations)) as edge:
            first = asyncio.ensure_future(edge.exchange(GET))
            await begun.wait()
            assert head(await edge.exchange(GET))[0] == b"429"
            go_on.set()
            assert head(await first)[0] == b"200"
            await edge.logged(2)
            assert head(await edge.exchange(GET))[0] == b"200"


async def test_a_client_that_leaves_is_no_longer_counted() -> None:
    begun = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        begun.set()
        await peer.eof()

    async with backend(conversation) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"limit-connections": "1"})
        async with serving_manifests(manifests) as edge:
            _, writer = await edge.connect()
            writer.write(GET)
            await begun.wait()
            writer.close()
            await edge.logged(1)
            begun.clear()
            _, writer = await edge.connect()
            writer.write(GET)
            await begun.wait()
