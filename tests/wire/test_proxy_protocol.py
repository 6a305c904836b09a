"""The PROXY protocol before HTTP and TLS, on real sockets: 127.0.0.2 is a trusted proxy, 127.0.0.1 is anybody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from ingressd.listener.proxy_protocol import SIGNATURE, encode
from ingressd.settings import Limits
from tests.support.backend import Backend, backend, echo
from tests.support.certificates import issue, trusting
from tests.support.edge import Running, running, snapshot
from tests.support.loops import on_both_loops

PROXY, ANYBODY = "127.0.0.2", "127.0.0.1"
CERTIFICATE = issue("a.test")
VERSION_1 = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 4443\r\n"
VERSION_2 = encode(("192.0.2.1", 56324), ("198.51.100.7", 4443))
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNKNOWN = b"PROXY UNKNOWN\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
FORGED = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n"
PATIENCE_S = 20.0

versions = pytest.mark.parametrize("header", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
ports = pytest.mark.parametrize("tls", [False, True], ids=["HTTP", "HTTPS"])

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(**more: Any) -> AsyncIterator[tuple[Running, Backend]]:
    settings = {"proxy_protocol": "on", "trusted_proxies": ("127.0.0.2/32", "10.0.0.0/8"), **more}
    async with backend(echo) as app:
        table = snapshot([app.port], default_certificate=CERTIFICATE)
        async with running(table, **settings) as edge:
            yield edge, app


async def connect(edge: Running, *, tls: bool, header: bytes = b"", pieces: int = 0, peer: str = PROXY) -> Connection:
    """A connection from `peer` that begins with `header`, in one segment with what follows, or in so many pieces."""
    sock = socket.create_connection((ANYBODY, edge.tls_port if tls else edge.port), source_address=(peer, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in cut(header, pieces):
        sock.send(piece)
        for _ in range(3):  # so that the edge, on this loop, reads it alone
            await asyncio.sleep(0)
    if header and not pieces:
        sock.send(header, socket.MSG_MORE)
    sock.setblocking(False)
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(sock=sock, ssl=trusting() if tls else None, server_hostname="a.test" if tls else None),
        PATIENCE_S,
    )
    edge.clients.append(writer)
    return reader, writer


def cut(header: bytes, pieces: int) -> Sequence[bytes]:
    if not pieces:
        return ()
    size = -(-len(header) // pieces)
    return [header[at : at + size] for at in range(0, len(header), size)]


async def answer(connection: Connection, request: bytes = GET) -> str:
    """What the endpoint was sent: it answers with that."""
    reader, writer = connection
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return (await asyncio.wait_for(reader.readexactly(length), PATIENCE_S)).decode()


async def refusal(edge: Running, sent: bytes, *, tls: bool = False, peer: str = PROXY) -> bytes:
    """Everything that comes back for these bytes, until the edge closes."""
    reader, writer = await asyncio.open_connection(ANYBODY, edge.tls_port if tls else edge.port, local_addr=(peer, 0))
    edge.clients.append(writer)
    writer.write(sent)
    received = b""
    with suppress(ConnectionError):  # a reset is an end, too
        while data := await asyncio.wait_for(reader.read(4096), PATIENCE_S):
            received += data
    return received


@versions
@ports
@pytest.mark.parametrize("pieces", [0, 1, 2, 100], ids=["with what follows", "alone", "in two", "byte by byte"])
@on_both_loops
async def test_the_client_is_whom_the_proxy_names(header: bytes, tls: bool, pieces: int) -> None:
    async with serving() as (edge, _):
        heard = await answer(await connect(edge, tls=tls, header=header, pieces=pieces))
        assert "X-Forwarded-For: 192.0.2.1\r\n" in heard
        assert "X-Real-IP: 192.0.2.1\r\n" in heard
        assert "X-Forwarded-Port: 4443\r\n" in heard
        assert f"Forwarded: for=192.0.2.1;host=a.test;proto={'https' if tls else 'http'}\r\n" in heard
        (entry,) = await edge.logged()
        assert (entry.client_address, entry.client_port) == ("192.0.2.1", 56324)
        assert edge.stats.proxy_headers_missed_total == 0


@ports
@on_both_loops
async def test_an_ipv6_client_is_named_too(tls: bool) -> None:
    async with serving() as (edge, _):
        heard = await answer(await connect(edge, tls=tls, header=encode(("2001:db8::9", 7), ("2001:db8::1", 443))))
        assert "X-Forwarded-For: 2001:db8::9\r\n" in heard
        assert "X-Forwarded-Port: 443\r\n" in heard


@on_both_loops
async def test_every_request_of_a_connection_is_that_clients_and_another_header_is_none() -> None:
    async with serving() as (edge, _):
        connection = await connect(edge, tls=False, header=VERSION_2)
        assert "X-Forwarded-For: 192.0.2.1\r\n" in await answer(connection)
        assert "X-Forwarded-For: 192.0.2.1\r\n" in await answer(connection)
        other = b"PROXY TCP4 198.51.100.66 198.51.100.7 1 80\r\n"
        connection[1].write(other + GET)
        assert (await asyncio.wait_for(connection[0].read(-1), PATIENCE_S)).startswith(b"HTTP/1.1 400 ")


@ports
@on_both_loops
async def test_anybody_else_is_served_as_itself_and_may_not_send_a_header(tls: bool) -> None:
    async with serving() as (edge, app):
        heard = await answer(await connect(edge, tls=tls, peer=ANYBODY))
        assert "X-Forwarded-For: 127.0.0.1\r\n" in heard
        assert f"X-Forwarded-Port: {edge.tls_port if tls else edge.port}\r\n" in heard
        for header in (VERSION_1, VERSION_2, LOCAL, UNKNOWN):
            received = await refusal(edge, header + GET, tls=tls, peer=ANYBODY)
            # What does not even look like HTTP is told nothing where TLS is spoken.
            assert received.startswith(b"HTTP/1.1 400 ") or (tls and not received), (header, received)
        assert len(app.peers) == 1
        assert edge.stats.proxy_headers_missed_total == 0


@pytest.mark.parametrize("peer", [PROXY, ANYBODY])
@on_both_loops
async def test_switched_off_a_header_is_garbage_whoever_sends_it(peer: str) -> None:
    async with serving(proxy_protocol="off") as (edge, app):
        for header in (VERSION_1, VERSION_2):
            assert (await refusal(edge, header + GET, peer=peer)).startswith(b"HTTP/1.1 400 ")
        assert not app.peers
        assert f"X-Forwarded-For: {peer}\r\n" in await answer(await connect(edge, tls=False, peer=peer))


@ports
@pytest.mark.parametrize(
    "sent",
    [
        GET,
        b"\x16\x03\x01\x00\x05",
        VERSION_1.replace(b"192.0.2.1", b"192.0.2.256"),
        SIGNATURE + b"\x31" + VERSION_2[13:],
    ],
    ids=["a request", "a ClientHello", "a bad address", "version 3"],
)
@on_both_loops
async def test_a_trusted_proxy_without_a_header_is_closed_without_a_word_and_counted(sent: bytes, tls: bool) -> None:
    async with serving() as (edge, app):
        assert await refusal(edge, sent, tls=tls) == b""
        assert not app.peers
        assert edge.stats.proxy_headers_missed_total == 1
        assert edge.edge._gate.count == 0


@ports
@pytest.mark.parametrize("sent", [b"", VERSION_1[:-1], VERSION_2[:-1]], ids=["nothing", "version 1", "version 2"])
@on_both_loops
async def test_a_header_has_the_time_of_what_it_stands_before(sent: bytes, tls: bool) -> None:
    async with serving(limits=Limits(request_head_s=0.1, tls_handshake_s=0.1)) as (edge, _):
        assert await refusal(edge, sent, tls=tls) == b""
        assert edge.stats.proxy_headers_missed_total == 1
        assert edge.edge._gate.count == 0


@on_both_loops
async def test_a_tls_handshake_behind_a_header_has_no_more_time_than_without() -> None:
    async with serving(limits=Limits(tls_handshake_s=0.1)) as (edge, _):
        assert await refusal(edge, VERSION_2 + b"\x16\x03\x01\x01", tls=True) == b""
        assert edge.stats.handshake_timeouts_total == 1
        assert edge.stats.proxy_headers_missed_total == 0


@ports
@pytest.mark.parametrize("header", [LOCAL, UNKNOWN], ids=["LOCAL", "UNKNOWN"])
@on_both_loops
async def test_a_proxy_that_names_nobody_is_itself_the_client_and_speaks_for_nobody(header: bytes, tls: bool) -> None:
    async with serving() as (edge, _):
        heard = await answer(await connect(edge, tls=tls, header=header), FORGED)
        assert f"X-Forwarded-For: {PROXY}\r\n" in heard
        assert f"X-Forwarded-Port: {edge.tls_port if tls else edge.port}\r\n" in heard
        assert "203.0.113.9" not in heard
        (entry,) = await edge.logged()
        assert entry.client_address == PROXY


@pytest.mark.parametrize(
    ("source", "chain", "client"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.1"), ("10.0.0.7", "203.0.113.9, 10.0.0.7", "203.0.113.9")],
    ids=["a client", "a trusted proxy"],
)
@on_both_loops
async def test_what_a_request_claims_is_believed_of_whom_the_header_names_and_not_of_who_sent_it(
    source: str, chain: str, client: str
) -> None:
    async with serving() as (edge, _):
        heard = await answer(await connect(edge, tls=False, header=encode((source, 1), ("198.51.100.7", 80))), FORGED)
        assert f"X-Forwarded-For: {chain}\r\n" in heard
        assert f"X-Real-IP: {client}\r\n" in heard
        (entry,) = await edge.logged()
        assert entry.client_address == client


@ports
@on_both_loops
async def test_a_worker_that_drains_cuts_proxies_that_have_not_said_whose_their_connections_are(tls: bool) -> None:
    async with serving() as (edge, _):
        waiting = asyncio.ensure_future(refusal(edge, VERSION_2[:5], tls=tls))
        async with asyncio.timeout(PATIENCE_S):
            while not edge.edge._gate.count:
                await asyncio.sleep(0)
        await edge.edge.drain(0.0)
        assert await waiting == b""
        assert edge.edge._gate.count == 0
