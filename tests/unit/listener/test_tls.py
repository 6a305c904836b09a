"""Contexts by host, and handshakes on real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ingressd.listener.gate import Gate
from ingressd.listener.tls import ContextStore, TlsAcceptor
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits, Settings
from ingressd.table.certificate import Certificate
from tests.support.backend import abort
from tests.support.certificates import issue, names_of, trusting
from tests.support.loops import on_both_loops

SHOP = issue("shop.test", origin="default/shop")
WILD = issue("*.wild.test", origin="default/wild")
DEFAULT = issue("default.test", origin="default/default")
CERTIFICATES = {"shop.test": SHOP, "*.wild.test": WILD}


def store(default: Certificate | None = DEFAULT, **certificates: Certificate) -> ContextStore:
    contexts = ContextStore(Settings())
    contexts.update({**CERTIFICATES, **certificates}, default)
    return contexts


def served(context: ssl.SSLContext | None) -> list[str]:
    """The names of the certificate that a client of this context gets, by a handshake in memory."""
    assert context is not None
    wires = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(wires[0], wires[1])
    server = context.wrap_bio(wires[1], wires[0], server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return names_of(client)


# ContextStore


@pytest.mark.parametrize(
    ("server_name", "names"),
    [
        ("shop.test", ["shop.test"]),
        ("a.wild.test", ["*.wild.test"]),
        ("wild.test", ["default.test"]),
        ("a.b.wild.test", ["default.test"]),
        ("other.test", ["default.test"]),
        ("", ["default.test"]),
    ],
)
def test_a_host_gets_its_own_certificate_its_wildcard_s_or_the_default(server_name: str, names: list[str]) -> None:
    assert served(store().context_for(server_name)) == names


def test_an_exact_host_goes_before_a_wildcard() -> None:
    contexts = store(**{"a.wild.test": SHOP})
    assert served(contexts.context_for("a.wild.test")) == ["shop.test"]
    assert served(contexts.context_for("b.wild.test")) == ["*.wild.test"]


def test_without_a_default_certificate_other_hosts_are_refused() -> None:
    contexts = store(default=None)
    assert contexts.context_for("other.test") is None
    assert contexts.context_for("") is None
    assert served(contexts.context_for("shop.test")) == ["shop.test"]


def test_contexts_are_made_once_when_first_asked_for_and_shared_by_hosts() -> None:
    contexts = store(**{"also.test": replace(SHOP, origin="other/copy")})
    assert not contexts._contexts
    context = contexts.context_for("shop.test")
    assert contexts.context_for("shop.test") is context
    assert contexts.context_for("also.test") is context
    assert len(contexts._contexts) == 1


def test_the_least_used_context_is_forgotten_first() -> None:
    contexts = ContextStore(Settings(limits=Limits(connections=2)))
    contexts.update(CERTIFICATES, DEFAULT)
    shop = contexts.context_for("shop.test")
    wild = contexts.context_for("a.wild.test")
    assert contexts.context_for("shop.test") is shop
    contexts.context_for("")
    assert contexts.context_for("shop.test") is shop
    assert contexts.context_for("a.wild.test") is not wild
    assert len(contexts._contexts) == 2


def test_an_update_drops_the_contexts_of_certificates_that_are_gone_and_keeps_the_others() -> None:
    contexts = store()
    shop, default = contexts.context_for("shop.test"), contexts.context_for("")
    contexts.context_for("a.wild.test")
    contexts.update({"shop.test": replace(SHOP)}, replace(DEFAULT))
    assert contexts.context_for("shop.test") is shop
    assert contexts.context_for("") is default
    assert len(contexts._contexts) == 2
    assert served(contexts.context_for("a.wild.test")) == ["default.test"]


def test_a_chain_mended_under_the_same_leaf_is_served() -> None:
    contexts = store()
    before = contexts.context_for("shop.test")
    mended = replace(SHOP, chain_pem=SHOP.chain_pem + b"\n")
    assert mended.fingerprint == SHOP.fingerprint
    contexts.update({"shop.test": mended}, DEFAULT)
    assert contexts.context_for("shop.test") is not before


def encrypted(certificate: Certificate) -> Certificate:
    key = load_pem_private_key(certificate.key_pem, None)
    return replace(
        certificate,
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
    )


@pytest.mark.parametrize(
    "broken",
    [
        replace(SHOP, key_pem=WILD.key_pem),
        replace(SHOP, key_pem=b""),
        replace(SHOP, chain_pem=b""),
        replace(SHOP, chain_pem=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        replace(SHOP, key_pem=b"\x00\xff" * 100),
        encrypted(SHOP),
    ],
    ids=["another key", "no key", "no chain", "garbage chain", "garbage key", "encrypted key"],
)
def test_a_certificate_that_openssl_refuses_is_logged_once_and_the_default_serves(
    broken: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    contexts = store(**{"shop.test": broken})
    for _ in range(3):
        assert served(contexts.context_for("shop.test")) == ["default.test"]
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith("cannot use the certificate of default/shop for shop.test: ")
    assert "KEY-----" not in text
    assert served(contexts.context_for("a.wild.test")) == ["*.wild.test"]


def test_a_broken_default_certificate_refuses_instead_of_serving_another_host_s() -> None:
    assert store(default=replace(DEFAULT, key_pem=b"")).context_for("other.test") is None


def test_contexts_are_modern() -> None:
    context = store().context_for("shop.test")
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert not context.options & ssl.OP_NO_TICKET
    ciphers = context.get_ciphers()
    assert all(cipher["aead"] for cipher in ciphers)
    assert all(cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-") for cipher in ciphers)
    assert {cipher["protocol"] for cipher in ciphers} == {"TLSv1.2", "TLSv1.3"}


# TlsAcceptor


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def __init__(self, server_name: str, made: list[str]) -> None:
        self.server_name = server_name
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by type
        self._made.append(self.server_name)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@dataclass
class Acceptor:
    """A running acceptor, and who got through."""

    it: TlsAcceptor
    port: int
    stats: WorkerStats
    made: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def tls(self, server_name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trusting(), server_hostname=server_name
        )
        self.writers.append(writer)
        return reader, writer

    async def idle(self) -> None:
        """Wait until no handshake is under way: a client of TLS 1.3 is done before the server is."""
        async with asyncio.timeout(10):
            await self.it.empty.wait()

    async def busy(self, count: int) -> None:
        """Wait until so many handshakes are under way."""
        async with asyncio.timeout(10):
            while len(self.it._handshakes) != count:
                await asyncio.sleep(0)


@asynccontextmanager
async def acceptor(
    contexts: ContextStore | None = None, limits: Limits | None = None, backlog: int = 128
) -> AsyncIterator[Acceptor]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    sock.setblocking(False)
    made: list[str] = []
    stats = WorkerStats()
    it = TlsAcceptor(
        asyncio.get_running_loop(),
        sock,
        contexts or store(),
        lambda name, _: Echo(name, made),
        limits or Limits(),
        Gate(limits or Limits(), stats),
        stats,
    )
    running = Acceptor(it, sock.getsockname()[1], stats, made)
    it.start()
    try:
        yield running
    finally:
        it.stop()
        it.cut()
        for writer in running.writers:
            abort(writer)
        await running.idle()


def hello(server_name: str) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO, bytes]:
    """A client in memory, and its ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing, outgoing.read()


async def finish(
    client: ssl.SSLObject,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """The rest of a handshake whose ClientHello is sent."""
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            incoming.write(await asyncio.wait_for(reader.read(65536), 10))
        else:
            writer.write(outgoing.read())
            return


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the connection was closed; a reset closes it too, when not all of its bytes were read."""
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        return b""


@on_both_loops
async def test_the_factory_is_told_the_server_name_and_the_protocol_gets_the_bytes() -> None:
    async with acceptor() as edge:
        for name in ("SHOP.test", "a.wild.test", "other.test"):
            reader, writer = await edge.tls(name)
            writer.write(b"hello")
            assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
        assert edge.made == ["shop.test", "a.wild.test", "other.test"]
        await edge.idle()


@on_both_loops
async def test_a_client_hello_that_comes_byte_by_byte_wakes_the_acceptor_per_record_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = 0
    readable = TlsAcceptor._readable

    async def counting(self: TlsAcceptor, sock: socket.socket) -> None:
        nonlocal waits
        waits += 1
        await readable(self, sock)

    monkeypatch.setattr(TlsAcceptor, "_readable", counting)
    client, incoming, outgoing, first = hello("shop.test")
    async with acceptor() as edge:
        reader, writer = await edge.raw()
        for at in range(len(first)):
            writer.write(first[at : at + 1])
            await asyncio.sleep(0)
        await finish(client, incoming, outgoing, reader, writer)
        assert names_of(client) == ["shop.test"]
        assert waits <= 3


@on_both_loops
async def test_a_client_hello_in_several_records_is_served() -> None:
    client, incoming, outgoing, first = hello("shop.test")
    cut = b"".join(
        b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
        for piece in (first[5:60], first[60:61], first[61:200], first[200:])
    )
    async with acceptor() as edge:
        reader, writer = await edge.raw()
        for at in range(0, len(cut), 37):
            writer.write(cut[at : at + 37])
            await asyncio.sleep(0)
        await finish(client, incoming, outgoing, reader, writer)
        assert names_of(client) == ["shop.test"]


@on_both_loops
async def test_a_client_that_closes_in_its_client_hello_is_let_go_at_once() -> None:
    *_, first = hello("shop.test")
    async with acceptor() as edge:
        for part in (b"", first[:3], first[:100]):
            reader, writer = await edge.raw()
            writer.write(part)
            writer.write_eof()
            assert await ended(reader) == b""
        assert edge.made == []


@on_both_loops
async def test_a_client_that_resets_in_its_client_hello_leaves_nothing_behind() -> None:
    *_, first = hello("shop.test")
    async with acceptor() as edge:
        for part in (first[:100], first):
            _, writer = await edge.raw()
            writer.write(part)
            await edge.busy(1)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            writer.transport.abort()
            await edge.idle()


@on_both_loops
async def test_a_silent_client_and_one_that_stops_halfway_are_closed_in_time() -> None:
    *_, first = hello("shop.test")
    async with acceptor(limits=Limits(tls_handshake_s=0.2)) as edge:
        clients = [await edge.raw() for _ in range(4)]
        for (_, writer), part in zip(clients, (b"", first[:1], first[:200], first), strict=True):
            writer.write(part)
        for reader, _ in clients:
            await ended(reader)
        await edge.idle()
        assert edge.made == []


@on_both_loops
async def test_plain_http_is_told_that_the_port_speaks_https() -> None:
    async with acceptor() as edge:
        for request in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"G", b"POST / HTTP/1.1\r\n\r\n" + bytes(20_000)):
            reader, writer = await edge.raw()
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 10)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"Connection: close\r\n" in answer
            assert answer.endswith(b"\r\n\r\n400 Bad Request: this port speaks HTTPS\n")
            writer.close()


@on_both_loops
async def test_garbage_is_closed_without_an_answer() -> None:
    async with acceptor() as edge:
        for garbage in (b"\x00", b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x05\x02abcd"):
            reader, writer = await edge.raw()
            writer.write(garbage)
            assert await ended(reader) == b""


@on_both_loops
async def test_without_a_default_certificate_an_unknown_host_gets_the_alert_for_it() -> None:
    async with acceptor(store(default=None)) as edge:
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await edge.tls("other.test")
        await edge.tls("shop.test")
        await edge.idle()
        assert edge.made == ["shop.test"]


@on_both_loops
async def test_failed_handshakes_log_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    old = trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-GCM-SHA256")
    distrusting = ssl.create_default_context()
    *_, first = hello("shop.test")
    async with acceptor() as edge:
        for context in (old, distrusting):
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", edge.port, ssl=context, server_hostname="shop.test")
        reader, writer = await edge.raw()
        writer.write(first + b"\x16\x03\x03\x00\x04lies")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1 << 16), 10)
        await edge.idle()
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def _only(version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@on_both_loops
async def test_a_client_whose_handshake_fails_is_told_why_and_counted() -> None:
    refused = [
        (_only(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), "alert protocol version"),
        (_only(ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"), "alert handshake failure"),
    ]
    async with acceptor() as edge:
        for context, alert in refused:
            with pytest.raises(ssl.SSLError, match=alert):
                await asyncio.open_connection("127.0.0.1", edge.port, ssl=context, server_hostname="shop.test")
        await edge.idle()
        assert edge.stats.handshake_failures_total == len(refused)


@on_both_loops
async def test_a_client_that_breaks_off_is_told_why_and_counted() -> None:
    client, incoming, _, first = hello("shop.test")
    async with acceptor() as edge:
        reader, writer = await edge.raw()
        writer.write(first + b"\x17\x03\x03\x00\x04lies")
        incoming.write(await asyncio.wait_for(reader.read(), 10))
        client.do_handshake()
        with pytest.raises(ssl.SSLError, match="alert"):
            client.read()
        await edge.idle()
        assert (edge.stats.handshake_failures_total, edge.stats.handshake_timeouts_total) == (1, 0)


@on_both_loops
async def test_a_client_that_trusts_nobody_is_counted() -> None:
    async with acceptor() as edge:
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(
                "127.0.0.1", edge.port, ssl=ssl.create_default_context(), server_hostname="shop.test"
            )
        await edge.idle()
        assert edge.stats.handshake_failures_total == 1


@on_both_loops
async def test_no_tls_and_no_certificate_count_as_failures_and_a_client_without_a_word_does_not() -> None:
    async with acceptor(store(default=None)) as edge:
        for first in (b"GET / HTTP/1.1\r\n\r\n", bytes(100)):
            reader, writer = await edge.raw()
            writer.write(first)
            await ended(reader)
        await edge.idle()
        assert edge.stats.handshake_failures_total == 2
        with pytest.raises(ssl.SSLError):
            await edge.tls("other.test")
        await edge.idle()
        assert edge.stats.handshake_failures_total == 3
        _, writer = await edge.raw()
        await edge.busy(1)
        abort(writer)
        await edge.tls("shop.test")
        await edge.idle()
        assert edge.stats.handshake_failures_total == 3


@on_both_loops
async def test_handshakes_under_way_are_bounded_and_accepting_goes_on_when_they_end() -> None:
    async with acceptor(limits=Limits(connections=2)) as edge:
        silent = [await edge.raw() for _ in range(2)]
        await edge.busy(2)
        waiting = asyncio.ensure_future(edge.tls("shop.test"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert len(edge.it._handshakes) == 2
        for _, writer in silent:
            writer.close()
        await asyncio.wait_for(waiting, 10)
        await edge.idle()
        assert edge.made == ["shop.test"]


@on_both_loops
async def test_a_stopped_acceptor_finishes_the_handshakes_under_way() -> None:
    client, incoming, outgoing, first = hello("shop.test")
    async with acceptor() as edge:
        reader, writer = await edge.raw()
        writer.write(first[:100])
        await edge.busy(1)
        edge.it.stop()
        with pytest.raises(ConnectionRefusedError):
            await edge.raw()
        assert not edge.it.empty.is_set()
        writer.write(first[100:])
        await finish(client, incoming, outgoing, reader, writer)
        await edge.idle()
        assert edge.made == ["shop.test"]


@on_both_loops
async def test_cut_ends_handshakes_in_every_phase() -> None:
    *_, first = hello("shop.test")
    async with acceptor() as edge:
        clients = [await edge.raw() for _ in range(3)]
        for (_, writer), part in zip(clients, (b"", first[:100], first), strict=True):
            writer.write(part)
        assert (await asyncio.wait_for(clients[2][0].read(1), 10)) == b"\x16"
        await edge.busy(3)
        edge.it.cut()
        for reader, _ in clients:
            await ended(reader)
        await edge.idle()
        assert edge.made == []


@on_both_loops
async def test_connections_survive_an_update_and_new_ones_get_the_new_certificate() -> None:
    contexts = store()
    async with acceptor(contexts) as edge:
        reader, writer = await edge.tls("shop.test")
        contexts.update({"shop.test": issue("new.test")}, DEFAULT)
        _, later = await edge.tls("shop.test")
        assert names_of(writer.get_extra_info("ssl_object")) == ["shop.test"]
        assert names_of(later.get_extra_info("ssl_object")) == ["new.test"]
        writer.write(b"still here")
        assert await asyncio.wait_for(reader.readexactly(10), 10) == b"still here"
