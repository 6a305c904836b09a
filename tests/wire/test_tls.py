"""HTTPS through the edge, on real sockets: certificates by host, versions, swaps, long bodies, tunnels, ends."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ingressd.settings import Limits
from ingressd.table.snapshot import Snapshot, diff
from tests.support.backend import OK, Backend, Conversation, Peer, backend, echo
from tests.support.certificates import authority, issue, names_of, trusting
from tests.support.edge import Running, running, snapshot
from tests.support.loops import on_both_loops

SHOP = issue("shop.test", origin="default/shop")
WILD = issue("*.wild.test", origin="default/wild")
DEFAULT = issue("default.test", origin="default/default")
CERTIFICATES = {"shop.test": SHOP, "*.wild.test": WILD}

GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
BLOCK = bytes(range(256)) * 256

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def table(*ports: int) -> Snapshot:
    return snapshot(ports, certificates=CERTIFICATES, default_certificate=DEFAULT)


@asynccontextmanager
async def serving(conversation: Conversation = echo, **more: Any) -> AsyncIterator[tuple[Running, Backend]]:
    async with backend(conversation) as app, running(table(app.port), **more) as edge:
        yield edge, app


async def connect(edge: Running, server_name: str | None, context: ssl.SSLContext | None = None) -> Connection:
    """A TLS connection; a `server_name` of None sends no SNI."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", edge.tls_port, ssl=context or trusting(), server_hostname=server_name or "", limit=1 << 24
    )
    edge.clients.append(writer)
    return reader, writer


def shown(connection: Connection) -> list[str]:
    return names_of(connection[1].get_extra_info("ssl_object"))


async def answer(connection: Connection, request: bytes = GET) -> bytes:
    """The head and the body of the answer to `request`."""
    reader, writer = connection
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return head + await asyncio.wait_for(reader.readexactly(length), 10)


@dataclass(frozen=True)
class Program:
    """A program's end."""

    code: int
    output: str


async def run(*command: str) -> Program:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(b""), 20)
    assert process.returncode is not None
    return Program(process.returncode, output.decode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("server_name", "names"),
    [
        ("shop.test", ["shop.test"]),
        ("SHOP.TEST", ["shop.test"]),
        ("a.wild.test", ["*.wild.test"]),
        ("a.b.wild.test", ["default.test"]),
        ("wild.test", ["default.test"]),
        ("unknown.test", ["default.test"]),
        ("127.0.0.1", ["default.test"]),
        (None, ["default.test"]),
    ],
)
@on_both_loops
async def test_a_host_shows_its_certificate(server_name: str | None, names: list[str]) -> None:
    async with serving() as (edge, _):
        connection = await connect(edge, server_name)
        assert shown(connection) == names
        assert (await answer(connection)).startswith(b"HTTP/1.1 200 OK\r\n")


@on_both_loops
async def test_a_request_over_tls_is_proxied_and_the_backend_hears_of_https() -> None:
    async with serving() as (edge, app):
        connection = await connect(edge, "shop.test")
        await answer(connection)
        await answer(connection)
        received = bytes(app.peers[0].received)
        assert received.count(b"X-Forwarded-Proto: https\r\n") == 2
        assert b"X-Forwarded-Port: %d\r\n" % edge.tls_port in received
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in received
        entries = await edge.logged(2)
        assert [entry.status for entry in entries] == [200, 200]
        assert edge.edge.statistics() == {"http": 0, "https": 1}


@on_both_loops
async def test_curl_trusts_the_chain_and_the_name() -> None:
    async with serving() as (edge, _):
        with authority().cert_pem.tempfile() as ca:
            curl = await run(
                *("curl", "--silent", "--show-error", "--verbose", "--cacert", ca),
                *("--resolve", f"shop.test:{edge.tls_port}:127.0.0.1", f"https://shop.test:{edge.tls_port}/hello"),
            )
        assert curl.code == 0, curl.output
        assert "GET /hello HTTP/1.1" in curl.output
        assert "ALPN: server accepted http/1.1" in curl.output


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@on_both_loops
async def test_tls_1_2_and_1_3_are_spoken(version: ssl.TLSVersion) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    async with serving() as (edge, _):
        connection = await connect(edge, "shop.test", context)
        await answer(connection)
        name, _, bits = connection[1].get_extra_info("cipher")
        assert bits >= 128
        assert name.startswith("ECDHE-ECDSA-") or version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("option", ["-tls1_1", "-tls1"])
@on_both_loops
async def test_older_versions_are_refused(option: str) -> None:
    async with serving() as (edge, _):
        client = await run(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{edge.tls_port}", "-servername", "shop.test"),
            *(option, "-cipher", "ALL:@SECLEVEL=0"),
        )
        assert client.code != 0
        assert "Cipher is (NONE)" in client.output
        assert edge.stats.connections_total == 0


@pytest.mark.parametrize(
    "ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256"]
)
@on_both_loops
async def test_ciphers_without_forward_secrecy_or_authenticated_encryption_are_refused(ciphers: str) -> None:
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    async with serving() as (edge, _):
        with pytest.raises(OSError):
            await connect(edge, "shop.test", context)
        assert edge.stats.connections_total == 0


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
@on_both_loops
async def test_http_1_1_is_the_protocol_that_is_agreed_on(offered: list[str], chosen: str | None) -> None:
    context = trusting()
    if offered:
        context.set_alpn_protocols(offered)
    async with serving() as (edge, _):
        connection = await connect(edge, "shop.test", context)
        assert connection[1].get_extra_info("ssl_object").selected_alpn_protocol() == chosen
        assert (await answer(connection)).startswith(b"HTTP/1.1 200 OK\r\n")


@on_both_loops
async def test_a_client_may_not_renegotiate() -> None:
    async with serving() as (edge, _):
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{edge.tls_port}", "-servername", "shop.test", "-tls1_2"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        output = await asyncio.wait_for(process.stdout.readuntil(b"Extended master secret"), 20)
        process.stdin.write(b"R\n")
        output += await asyncio.wait_for(process.stdout.read(), 20)
        await process.wait()
        assert b"RENEGOTIATING" in output
        assert b"no renegotiation" in output


@on_both_loops
async def test_sessions_are_resumed() -> None:
    context = trusting()
    async with serving() as (edge, _):
        first = await connect(edge, "shop.test", context)
        await answer(first)  # the tickets of TLS 1.3 come before it
        session = first[1].get_extra_info("ssl_object").session
        assert session.has_ticket

        def resume() -> bool:
            sock = socket.create_connection(("127.0.0.1", edge.tls_port), 10)
            with context.wrap_socket(sock, server_hostname="shop.test", session=session) as again:
                again.sendall(CLOSE)
                while again.recv(4096):
                    pass
                return bool(again.session_reused)

        assert await asyncio.to_thread(resume)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@on_both_loops
async def test_a_session_of_one_host_is_worth_nothing_at_another(version: ssl.TLSVersion) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    async with serving() as (edge, _):
        first = await connect(edge, "shop.test", context)
        await answer(first)
        session = first[1].get_extra_info("ssl_object").session

        def visit(host: str) -> tuple[bool, list[str]]:
            sock = socket.create_connection(("127.0.0.1", edge.tls_port), 10)
            with context.wrap_socket(sock, server_hostname=host, session=session) as again:
                again.sendall(CLOSE)
                while again.recv(4096):
                    pass
                return bool(again.session_reused), names_of(again)

        assert (await asyncio.to_thread(visit, "shop.test"))[0]
        for host, names in (("a.wild.test", ["*.wild.test"]), ("other.test", ["default.test"])):
            if host == "other.test":
                context.check_hostname = False
            assert await asyncio.to_thread(visit, host) == (False, names)


@on_both_loops
async def test_a_new_certificate_is_for_new_connections_and_old_ones_go_on() -> None:
    async with serving() as (edge, app):
        old = await connect(edge, "shop.test")
        await answer(old)
        before = table(app.port)
        for generation in range(2, 12):
            renewed = issue("shop.test", f"generation-{generation}.test", origin="default/shop")
            after = replace(before, generation=generation, certificates={**CERTIFICATES, "shop.test": renewed})
            edge.edge.publish(after, diff(before, after))
            before = after
            new = await connect(edge, "shop.test")
            assert shown(new) == list(renewed.names)
            await answer(new)
            await answer(old)
        assert shown(old) == ["shop.test"]


@on_both_loops
async def test_a_certificate_that_cannot_be_loaded_costs_no_other_host_anything() -> None:
    async with serving() as (edge, app):
        broken = replace(SHOP, key_pem=WILD.key_pem)
        edge.edge.publish(
            replace(table(app.port), generation=2, certificates={**CERTIFICATES, "shop.test": broken}), None
        )
        assert shown(await connect(edge, "shop.test")) == ["default.test"]
        assert shown(await connect(edge, "a.wild.test")) == ["*.wild.test"]


@on_both_loops
async def test_a_client_hello_byte_by_byte_is_served() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing, server_hostname="shop.test")
    async with serving() as (edge, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port)
        edge.clients.append(writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0)
                incoming.write(await asyncio.wait_for(reader.read(65536), 10))
        client.write(CLOSE)
        for byte in outgoing.read():
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        while not received.startswith(b"HTTP/1.1 200 OK"):
            try:
                received += client.read()
            except ssl.SSLWantReadError:
                incoming.write(await asyncio.wait_for(reader.read(65536), 10))
        assert names_of(client) == ["shop.test"]


@on_both_loops
async def test_a_client_that_says_goodbye_with_its_last_request_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing, server_hostname="shop.test")
    async with running(snapshot([], routes=[], certificates=CERTIFICATES)) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port)
        edge.clients.append(writer)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await asyncio.wait_for(reader.read(65536), 10))
        client.write(CLOSE)
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        # The request and close_notify come together: the connection is being closed when its end is read.
        writer.write(outgoing.read())
        await asyncio.wait_for(reader.read(), 10)
        (entry,) = await edge.logged()
        assert entry.status == 404
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@on_both_loops
async def test_a_silent_client_is_closed_and_others_are_served_meanwhile() -> None:
    async with serving(limits=Limits(tls_handshake_s=0.3)) as (edge, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port)
        edge.clients.append(writer)
        await answer(await connect(edge, "shop.test"))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert edge.stats.connections_total == 1


@on_both_loops
async def test_plain_http_on_the_tls_port_is_answered() -> None:
    async with serving() as (edge, _):
        curl = await run("curl", "--silent", "--include", f"http://127.0.0.1:{edge.tls_port}/")
        assert curl.code == 0, curl.output
        assert curl.output.startswith("HTTP/1.1 400 Bad Request\r\n")
        assert curl.output.endswith("400 Bad Request: this port speaks HTTPS\n")


@on_both_loops
async def test_two_hundred_clients_at_once_are_served() -> None:
    names = ["shop.test", "a.wild.test", "b.wild.test", "unknown.test"]
    async with serving() as (edge, _):

        async def visit(number: int) -> list[str]:
            connection = await connect(edge, names[number % 4])
            assert (await answer(connection)).startswith(b"HTTP/1.1 200 OK\r\n")
            return shown(connection)

        seen = await asyncio.wait_for(asyncio.gather(*(visit(number) for number in range(200))), 60)
        assert seen == [["shop.test"], ["*.wild.test"], ["*.wild.test"], ["default.test"]] * 50
        assert edge.edge.statistics()["https"] == 200


@on_both_loops
async def test_a_long_response_arrives_unchanged() -> None:
    blocks = 160  # 10 MiB

    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
        for _ in range(blocks):
            await peer.send(BLOCK)

    async with serving(conversation) as (edge, _):
        reader, writer = await connect(edge, "shop.test")
        writer.write(CLOSE)
        await reader.readuntil(b"\r\n\r\n")
        body = await asyncio.wait_for(reader.read(), 60)
        assert len(body) == blocks * len(BLOCK)
        assert hashlib.sha256(body).digest() == hashlib.sha256(BLOCK * blocks).digest()


@on_both_loops
async def test_a_long_upload_arrives_unchanged() -> None:
    blocks = 160  # 10 MiB
    digest = hashlib.sha256()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        for _ in range(blocks):
            digest.update(await peer.reader.readexactly(len(BLOCK)))
        await peer.send(OK)

    async with serving(conversation) as (edge, _):
        reader, writer = await connect(edge, "shop.test")
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
        for _ in range(blocks):
            writer.write(BLOCK)
            await writer.drain()
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), 60)).startswith(b"HTTP/1.1 200 OK")
        assert digest.digest() == hashlib.sha256(BLOCK * blocks).digest()


@on_both_loops
async def test_a_tunnel_carries_both_directions_and_ends_when_the_client_closes() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH + b"first")
        while message := await peer.reader.read(1 << 16):
            await peer.send(message.upper())
        peer.closed.set()

    async with serving(conversation) as (edge, app):
        reader, writer = await connect(edge, "shop.test")
        writer.write(UPGRADE + b"early")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert await asyncio.wait_for(reader.readexactly(10), 10) == b"firstEARLY"
        for message in (b"a" * 100_000, b"b", b"c" * 70_000):
            writer.write(message)
            assert await asyncio.wait_for(reader.readexactly(len(message)), 10) == message.upper()
        writer.close()
        await asyncio.wait_for((await app.peer(0)).closed.wait(), 10)
        (entry,) = await edge.logged()
        assert entry.status == 101


@on_both_loops
async def test_a_tunnel_ends_cleanly_when_the_backend_closes() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH + b"bye" * 10_000)

    async with serving(conversation) as (edge, _):
        reader, writer = await connect(edge, "shop.test")
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 10) == b"bye" * 10_000


@pytest.mark.parametrize("request_", [CLOSE, b"BAD REQUEST LINE\r\n\r\n"], ids=["Connection: close", "refused"])
@on_both_loops
async def test_the_last_answer_ends_with_close_notify(request_: bytes) -> None:
    async with serving() as (edge, _):

        def visit() -> bytes:
            sock = socket.create_connection(("127.0.0.1", edge.tls_port), 10)
            with trusting().wrap_socket(sock, server_hostname="shop.test", suppress_ragged_eofs=False) as client:
                client.sendall(request_)
                received = b""
                while data := client.recv(65536):  # raises SSLEOFError when the connection ends without the alert
                    received += data
                client.unwrap().close()
                return received

        received = await asyncio.to_thread(visit)
        assert b"Connection: close\r\n" in received


@on_both_loops
async def test_a_drain_serves_a_connection_that_is_being_made() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing, server_hostname="shop.test")
    async with serving() as (edge, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port)
        edge.clients.append(writer)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        writer.write(outgoing.read())
        incoming.write(await asyncio.wait_for(reader.read(65536), 10))
        draining = asyncio.ensure_future(edge.edge.drain(10))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not draining.done()
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(await asyncio.wait_for(reader.read(65536), 10))
        client.write(GET)
        writer.write(outgoing.read())
        received = b""
        while b"\r\n\r\n" not in received:
            try:
                received += client.read()
            except ssl.SSLWantReadError:
                incoming.write(await asyncio.wait_for(reader.read(65536), 10))
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close\r\n" in received
        writer.close()
        await asyncio.wait_for(draining, 20)
