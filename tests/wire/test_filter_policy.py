"""Annotations for times, sizes and the log, with real requests."""

from __future__ import annotations

import asyncio

from tests.support.backend import OK, Peer, backend, echo
from tests.support.manifest_edge import ingress_yaml, service_yaml, serving_manifests


def post(size: int, *, path: str = "/", more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\nConnection: close\r\n{more}\r\n".encode()


async def test_a_body_above_its_size_is_413_and_one_at_it_passes() -> None:
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"proxy-body-size": "1k"})
        async with serving_manifests(manifests) as edge:
            assert (await edge.exchange(post(1025))).startswith(b"HTTP/1.1 413 ")
            assert not app.peers
            assert (await edge.exchange(post(1024) + b"x" * 1024)).startswith(b"HTTP/1.1 200 ")
            chunked = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n"
            assert (await edge.exchange(chunked + b"x" * 1025)).startswith(b"HTTP/1.1 413 ")


async def test_the_default_of_ingress_nginx_is_one_mebibyte_and_zero_is_no_bound() -> None:
    async with backend(echo) as app:
        for annotations, status in (
            ({"enable-access-log": "true"}, 413),
            ({"proxy-body-size": "0"}, 200),
            ({"ingressd.dev/enable-access-log": "true"}, 200),
        ):
            manifests = service_yaml({"app": app.port}) + ingress_yaml(annotations)
            async with serving_manifests(manifests) as edge:
                size = 1024 * 1024 + 1
                answer = await edge.exchange(post(size) + (b"x" * size if status == 200 else b""))
                assert answer.startswith(f"HTTP/1.1 {status} ".encode()), annotations


async def test_a_buffered_request_reaches_no_endpoint_before_its_body_is_there() -> None:
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"proxy-request-buffering": "on"})
        async with serving_manifests(manifests) as edge:
            reader, writer = await edge.connect()
            writer.write(post(4, more="Expect: 100-continue\r\n"))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"ab")
            await edge.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            assert len(app.peers) == 1, "only the other request has gone out"
            writer.write(b"cd")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert bytes(app.peers[-1].received).endswith(b"\r\n\r\nabcd")


async def test_a_buffered_request_that_is_larger_than_the_memory_for_it_is_streamed() -> None:
    size = 300_000
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"proxy-request-buffering": "on"})
        async with serving_manifests(manifests) as edge:
            answer = await edge.exchange(post(size) + b"x" * size)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert bytes(app.peers[-1].received).count(b"x" * size) == 1


async def test_the_read_timeout_of_the_route_is_the_one_that_counts() -> None:
    silent = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        silent.set()
        await peer.eof()

    async with backend(conversation) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"proxy-read-timeout": "1"})
        async with serving_manifests(manifests) as edge:
            answer = await edge.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert silent.is_set()


async def test_a_route_without_a_log_is_counted_all_the_same() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)

    async with backend(conversation) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"enable-access-log": "false"})
        async with serving_manifests(manifests) as edge:
            await edge.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            await edge.exchange(b"GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n")
            entries = await edge.logged(1)
            assert [entry.host for entry in entries] == ["b.test"]
            assert sum(sum(answers.values()) for answers in edge.stats.export()["requests"].values()) == 2
