"""Datagrams through a Service port: a flow stays with its endpoint, replies come from where the client had sent to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from ingressd.settings import Limits
from ingressd.table.stream import UDP
from tests.support.loops import on_both_loops
from tests.support.stream_edge import free_port, listener, serving, table

PATIENCE_S = 10.0


class _Echo(asyncio.DatagramProtocol):
    """Answers each datagram with its name and what was sent."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self.port = 0
        self.senders: list[tuple[str, int]] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.senders.append(addr)
        if self._transport is not None and data != b"silence":
            self._transport.sendto(self._name + b":" + data, addr)


@asynccontextmanager
async def _echo(name: bytes) -> AsyncIterator[_Echo]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Echo(name), local_addr=("127.0.0.1", 0))
    try:
        yield protocol
    finally:
        transport.close()
        await asyncio.sleep(0)


class _Client:
    """A socket that a test sends from, without waiting for the edge, which shares its loop."""

    def __init__(self, *address: object) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in str(address[0]) else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(address)

    def send(self, data: bytes) -> None:
        self.sock.send(data)

    async def read(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return self.sock.recv(65_535)
                except BlockingIOError:
                    await asyncio.sleep(0.002)

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return await self.read()

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


@on_both_loops
async def test_a_flow_stays_with_its_endpoint_and_another_gets_the_next_one() -> None:
    port = listener(UDP)
    async with _echo(b"one") as one, _echo(b"two") as two, serving(table([port], [one.port, two.port])) as edge:
        with _Client("127.0.0.1", port.port) as first, _Client("127.0.0.1", port.port) as second:
            names = {(await first.ask(b"x"))[:3] for _ in range(4)}
            others = {(await second.ask(b"x"))[:3] for _ in range(4)}
            assert len(names) == len(others) == 1
            assert names | others == {b"one", b"two"}
            assert len({*one.senders}) == len({*two.senders}) == 1
            assert edge.edge.streams.statistics()["flows"] == 2
            edge.edge.streams.measure()
            assert edge.stats.streams.export() == {("default", "app", "1", "UDP"): (2, 2, 8, 40, 0)}


@on_both_loops
async def test_a_large_datagram_passes_whole() -> None:
    port = listener(UDP)
    async with _echo(b"") as app, serving(table([port], [app.port])):
        with _Client("127.0.0.1", port.port) as client:
            assert await client.ask(b"x" * 60_000) == b":" + b"x" * 60_000
            assert await client.ask(b"") == b":"


@pytest.mark.parametrize("address", ["127.0.0.77", "::1"])
@on_both_loops
async def test_a_reply_comes_from_the_address_that_the_client_had_sent_to(address: str) -> None:
    port = listener(UDP, "::" if ":" in address else "0.0.0.0")
    async with _echo(b"one") as app, serving(table([port], [app.port])):
        with _Client(address, port.port) as client:  # connected: it hears nobody else
            assert await client.ask(b"x") == b"one:x"


@on_both_loops
async def test_an_ipv4_client_of_an_ipv6_socket_is_answered_from_its_own_address() -> None:
    port = listener(UDP, "::")
    async with _echo(b"one") as app, serving(table([port], [app.port])) as edge:
        with _Client("127.0.0.77", port.port) as client:
            assert await client.ask(b"x") == b"one:x"
        await edge.edge.drain(0.2)
        assert (await edge.log.ended())[0].client_address == "127.0.0.1"


@on_both_loops
async def test_after_a_refusal_the_next_datagram_goes_elsewhere() -> None:
    port, nobody = listener(UDP), free_port(UDP)
    # The one that refuses is preferred by the hash or not: with both orders one of the clients meets it.
    async with _echo(b"one") as app, serving(table([port], [nobody, app.port], affinity_s=60)) as edge:
        async with asyncio.timeout(PATIENCE_S):
            for last in range(1, 30):
                with _Client("127.0.0.1", port.port) as client:
                    client.sock.close()
                    client.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    client.sock.setblocking(False)
                    client.sock.bind((f"127.0.0.{last}", 0))
                    client.sock.connect(("127.0.0.1", port.port))
                    while True:
                        client.send(b"x")
                        await asyncio.sleep(0.005)
                        try:
                            assert client.sock.recv(100) == b"one:x"
                            break
                        except BlockingIOError:
                            continue
        failures = edge.stats.streams.export()["default", "app", "1", "UDP"][4]
        assert 0 < failures <= 29


@on_both_loops
async def test_a_flow_ends_when_it_is_silent() -> None:
    port = listener(UDP, udp_idle_s=0.2)
    async with _echo(b"one") as app, serving(table([port], [app.port])) as edge:
        with _Client("127.0.0.1", port.port) as client:
            await client.ask(b"x")
            (entry,) = await edge.log.ended()
            assert (entry.reason, entry.bytes_in, entry.bytes_out, entry.attempts) == ("", 1, 5, 1)
            assert entry.upstream_address == f"127.0.0.1:{app.port}"
            await client.ask(b"x")
            assert len({*app.senders}) == 2


@on_both_loops
async def test_the_flow_that_was_silent_longest_makes_room() -> None:
    port = listener(UDP)
    async with _echo(b"one") as app, serving(table([port], [app.port]), Limits(udp_flows=2)) as edge:
        with (
            _Client("127.0.0.1", port.port) as first,
            _Client("127.0.0.1", port.port) as second,
            _Client("127.0.0.1", port.port) as third,
        ):
            await first.ask(b"x")
            await second.ask(b"x")
            await first.ask(b"x")
            await third.ask(b"x")
            (entry,) = await edge.log.ended()
            assert entry.client_port == second.sock.getsockname()[1]
            assert edge.edge.streams.statistics()["flows"] == 2


@on_both_loops
async def test_a_flow_leaves_an_endpoint_that_no_service_has_any_more() -> None:
    port = listener(UDP)
    async with _echo(b"one") as one, _echo(b"two") as two, serving(table([port], [one.port])) as edge:
        with _Client("127.0.0.1", port.port) as client:
            assert await client.ask(b"x") == b"one:x"
            await edge.serve(table([port], [one.port, two.port], 2))
            assert await client.ask(b"x") == b"one:x"
            await edge.serve(table([port], [two.port], 3))
            assert await client.ask(b"x") == b"two:x"


@on_both_loops
async def test_without_endpoints_a_flow_waits_for_one() -> None:
    port = listener(UDP)
    async with _echo(b"one") as one, serving(table([port], [])) as edge:
        with _Client("127.0.0.1", port.port) as client:
            client.send(b"lost")
            async with asyncio.timeout(PATIENCE_S):
                while not edge.edge.streams.statistics()["flows"]:
                    await asyncio.sleep(0.002)
            await edge.serve(table([port], [one.port], 2))
            assert await client.ask(b"x") == b"one:x"


@on_both_loops
async def test_datagrams_of_clients_whom_a_port_is_not_for_are_dropped() -> None:
    port = listener(UDP, sources=("127.0.0.5/32",))
    async with _echo(b"a") as app, serving(table([port], [app.port])) as edge:
        with _Client("127.0.0.1", port.port) as stranger, _Client("127.0.0.1", port.port) as friend:
            stranger.send(b"silence")
            friend.sock.close()
            friend.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            friend.sock.setblocking(False)
            friend.sock.bind(("127.0.0.5", 0))
            friend.sock.connect(("127.0.0.1", port.port))
            assert await friend.ask(b"x") == b"a:x"
            assert len(app.senders) == 1
            # An edit takes it from one who had it, too.
            await edge.serve(table([replace(port, sources=("127.0.0.1",))], [app.port], generation=2))
            (entry,) = await edge.log.ended()
            assert (entry.client_address, entry.reason) == ("127.0.0.5", "denied_ip")
            assert await stranger.ask(b"y") == b"a:y"
