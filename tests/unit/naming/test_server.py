"""The DNS server on real sockets, with real clients, and with a real name server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import pytest
from dns.message import Message
from dns.rcode import Rcode

from ingressd.naming import forwarder, server
from ingressd.naming.server import DnsServer
from ingressd.process.listeners import open_listeners
from ingressd.settings import OFF, Settings
from tests.support.dns_server import DnsServer as Upstream
from tests.support.dns_server import dns_server
from tests.support.loops import on_both_loops
from tests.unit.compile.manifests import Object, compiled, service, slice_of
from tests.unit.naming.zones import WEB, told

PATIENCE_S = 30.0
HERE = "127.0.0.1"
CROWD = (service("crowd"), slice_of("crowd", [f"10.0.1.{number}" for number in range(1, 201)]))
OUTSIDE = service("out", type="ExternalName", externalName="api.example.com")


class Served:
    """A server, and questions to it."""

    def __init__(self, served: DnsServer, port: int) -> None:
        self.server = served
        self.port = port

    async def udp(self, name: str, kind: str = "A", **options: Any) -> Message:
        query = dns.message.make_query(_absolute(name), kind, **options)
        return await dns.asyncquery.udp(query, HERE, PATIENCE_S, self.port)

    async def tcp(self, name: str, kind: str = "A") -> Message:
        query = dns.message.make_query(_absolute(name), kind)
        return await dns.asyncquery.tcp(query, HERE, PATIENCE_S, self.port)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(HERE, self.port)
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def served(
    *objects: Object, upstream: tuple[str, ...] = (), bind: str = HERE, send_bytes: int = 0
) -> AsyncIterator[Served]:
    settings = Settings(http_port=OFF, https_port=OFF, admin_port=OFF, dns_port=0, dns_bind=bind, dns_upstream=upstream)
    listeners = open_listeners(settings, {})
    if send_bytes:
        listeners.dns[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
    running = DnsServer(listeners.resolved(settings))
    if objects:
        running.serve(compiled(*objects), 1)
    await running.start(listeners.dns)
    try:
        yield Served(running, listeners.resolved(settings).dns_port)
    finally:
        await running.close()


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}.cluster.local."


def _framed(query: Message) -> bytes:
    wire = query.to_wire()
    return len(wire).to_bytes(2, "big") + wire


async def _answer(reader: asyncio.StreamReader) -> Message:
    return dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))


@on_both_loops
async def test_both_transports_answer() -> None:
    async with served(*WEB) as each:
        assert told(await each.udp("web.default.svc")) == ["A 10.0.0.1", "A 10.0.0.2"]
        assert told(await each.tcp("web.default.svc")) == ["A 10.0.0.1", "A 10.0.0.2"]
        assert each.server.queries == {("A", "NOERROR"): 2}


@on_both_loops
async def test_an_edit_is_told_with_the_next_answer() -> None:
    async with served() as each:
        assert told(await each.udp("web.default.svc")) == ["SERVFAIL"]
        each.server.serve(compiled(*WEB), 1)
        assert told(await each.udp("web.default.svc")) == ["A 10.0.0.1", "A 10.0.0.2"]
        each.server.serve(compiled(service()), 2)
        assert told(await each.udp("web.default.svc")) == []
        assert each.server.queries == {("A", "SERVFAIL"): 1, ("A", "NOERROR"): 2}


@on_both_loops
async def test_names_of_addresses_are_collected_when_somebody_asks() -> None:
    async with served(*WEB) as each:
        wanted = [each.udp("1.0.0.10.in-addr.arpa.", "PTR"), each.tcp("1.0.0.10.in-addr.arpa.", "PTR")]
        for message in await asyncio.gather(*wanted):
            assert told(message) == ["PTR one.web.default.svc.cluster.local."]


@on_both_loops
async def test_an_answer_that_is_too_long_for_udp_is_whole_over_tcp() -> None:
    async with served(*CROWD) as each:
        for options in ({}, {"use_edns": 0, "payload": 65535}):
            short = await each.udp("crowd.default.svc", **options)
            assert short.flags & dns.flags.TC
            assert not short.answer
        assert len(told(await each.tcp("crowd.default.svc"))) == 200


@on_both_loops
async def test_a_connection_takes_queries_one_after_another() -> None:
    async with served(*WEB) as each, each.connection() as (reader, writer):
        queries = [dns.message.make_query("web.default.svc.cluster.local.", kind) for kind in ("A", "AAAA", "SOA")]
        writer.writelines(_framed(query) for query in queries)
        answers = [await _answer(reader) for _ in queries]
        assert [answer.id for answer in answers] == [query.id for query in queries]
        assert told(answers[1]) == ["AAAA 2001:db8::1"]
        writer.write_eof()
        assert await reader.read() == b""


@pytest.mark.parametrize("wire", [b"\xff\xff", b"\x00\x00", b"\x00\x04abcd", b"\x00"])
@on_both_loops
async def test_what_is_no_query_ends_the_connection(wire: bytes) -> None:
    async with served(*WEB) as each, each.connection() as (reader, writer):
        writer.write(wire)
        writer.write_eof()
        assert await reader.read() == b""


@on_both_loops
async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TCP_IDLE_S", 0.01)
    async with served(*WEB) as each, each.connection() as (reader, writer):
        writer.write(b"\x00\x20half")
        assert await reader.read() == b""


@on_both_loops
async def test_one_connection_more_than_there_may_be_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TCP_CONNECTIONS", 1)
    query = dns.message.make_query("web.default.svc.cluster.local.", "A")
    async with served(*WEB) as each, each.connection() as (reader, writer):
        writer.write(_framed(query))
        await _answer(reader)
        async with each.connection() as (other, _):
            assert await other.read() == b""
        writer.write(_framed(query))
        assert told(await _answer(reader)) == ["A 10.0.0.1", "A 10.0.0.2"]


@on_both_loops
async def test_a_client_that_takes_no_answers_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TCP_IDLE_S", 0.05)
    async with served(*CROWD, send_bytes=4096) as each, each.connection() as (_, writer):
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        query = _framed(dns.message.make_query("crowd.default.svc.cluster.local.", "A"))
        with pytest.raises(ConnectionError):
            while True:
                writer.write(100 * query)
                await writer.drain()
        assert told(await each.udp("web.default.svc")) == ["NXDOMAIN"]


@on_both_loops
async def test_answers_and_noise_get_no_answer() -> None:
    async with served(*WEB) as each:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect((HERE, each.port))
        loop = asyncio.get_running_loop()
        query = dns.message.make_query("web.default.svc.cluster.local.", "A")
        for wire in (b"", b"x", dns.message.make_response(query).to_wire(), query.to_wire()):
            await loop.sock_sendall(client, wire)
        with client:
            async with asyncio.timeout(PATIENCE_S):
                first = dns.message.from_wire(await loop.sock_recv(client, 4096))
        assert told(first) == ["A 10.0.0.1", "A 10.0.0.2"]
        assert each.server.queries == {("A", "NOERROR"): 1}


@on_both_loops
async def test_malformed_queries_are_counted_as_what_they_are() -> None:
    async with served(*WEB) as each:
        update = dns.message.make_query("a.", "A")
        update.set_opcode(dns.opcode.NOTIFY)
        assert (await dns.asyncquery.udp(update, HERE, PATIENCE_S, each.port)).rcode() == Rcode.NOTIMP
        async with each.connection() as (reader, writer):
            writer.write(b"\x00\x0c" + b"\x12\x34" + bytes(10))
            assert (await _answer(reader)).rcode() == Rcode.FORMERR
        assert each.server.queries == {("other", "NOTIMP"): 1, ("other", "FORMERR"): 1}


# Other name servers.


@asynccontextmanager
async def forwarding(*objects: Object) -> AsyncIterator[tuple[Served, Upstream]]:
    async with dns_server() as upstream, served(*(objects or WEB), upstream=(upstream.address,)) as each:
        upstream.add("api.example.com.", "A", "192.0.2.1", "192.0.2.2")
        yield each, upstream


@on_both_loops
async def test_other_names_are_asked_for_elsewhere() -> None:
    async with forwarding() as (each, upstream):
        for asking in (each.udp, each.tcp):
            message = await asking("api.example.com.")
            assert told(message) == ["A 192.0.2.1", "A 192.0.2.2"]
            assert message.flags & dns.flags.RA
            assert not message.flags & dns.flags.AA
        assert told(await each.udp("other.example.com.")) == ["NXDOMAIN"]
        asked = len(upstream.asked)
        assert told(await each.udp("web.default.svc")) == ["A 10.0.0.1", "A 10.0.0.2"]
        assert told(await each.udp("other.default.svc")) == ["NXDOMAIN"]
        assert len(upstream.asked) == asked


@on_both_loops
async def test_the_addresses_of_an_external_name_come_along() -> None:
    async with forwarding(OUTSIDE) as (each, _):
        message = await each.udp("out.default.svc")
        assert told(message) == ["A 192.0.2.1", "A 192.0.2.2", "CNAME api.example.com."]
        assert message.flags & dns.flags.AA


@on_both_loops
async def test_a_long_answer_is_fetched_over_tcp() -> None:
    async with forwarding() as (each, upstream):
        upstream.truncating = True
        assert told(await each.udp("api.example.com.")) == ["A 192.0.2.1", "A 192.0.2.2"]
        assert [transport for _, _, transport in upstream.asked] == ["udp", "tcp"]


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.REFUSED])
@on_both_loops
async def test_a_server_that_cannot_help_is_followed_by_the_next(rcode: Rcode) -> None:
    async with dns_server() as broken, dns_server() as good:
        broken.everything = rcode
        good.add("api.example.com.", "A", "192.0.2.1")
        async with served(*WEB, upstream=(broken.address, good.address)) as each:
            assert told(await each.udp("api.example.com.")) == ["A 192.0.2.1"]
            good.everything = rcode
            assert told(await each.udp("api.example.com.")) == [str(rcode.name)]


@on_both_loops
async def test_when_nobody_answers_the_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "TIMEOUT_S", 0.01)
    async with forwarding(OUTSIDE) as (each, upstream):
        upstream.silent = True
        assert told(await each.udp("api.example.com.")) == ["SERVFAIL"]
        assert told(await each.udp("out.default.svc")) == ["SERVFAIL"]


@on_both_loops
async def test_no_more_than_so_many_questions_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TASKS", 1)
    async with forwarding() as (each, upstream):
        upstream.silent = True
        waiting = asyncio.create_task(each.udp("api.example.com."))
        async with asyncio.timeout(PATIENCE_S):
            while not upstream.asked:
                await asyncio.sleep(0)
        assert told(await each.udp("more.example.com.")) == ["SERVFAIL"]
        assert told(await each.udp("web.default.svc")) == ["A 10.0.0.1", "A 10.0.0.2"]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@on_both_loops
async def test_each_question_leaves_from_a_port_and_with_an_id_of_its_own() -> None:
    async with dns_server() as upstream:
        seen: set[tuple[int, int]] = set()
        answer = upstream.datagram_received

        def note(data: bytes, addr: tuple[str, int]) -> None:
            seen.add((addr[1], int.from_bytes(data[:2], "big")))
            answer(data, addr)

        upstream.datagram_received = note  # type: ignore[method-assign]
        upstream.add("api.example.com.", "A", "192.0.2.1")
        async with served(*WEB, upstream=(upstream.address,)) as each:
            for _ in range(8):
                await each.udp("api.example.com.", id=1)
        assert len({port for port, _ in seen}) > 1
        assert len({number for _, number in seen}) > 1


@on_both_loops
async def test_an_answer_to_another_question_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "TIMEOUT_S", 0.05)
    async with dns_server() as upstream:
        upstream.add("api.example.com.", "A", "192.0.2.1")
        real = upstream._answer

        def other(data: bytes, transport: str) -> bytes | None:
            answer = dns.message.from_wire(real(data, transport) or b"")
            forged = dns.message.make_response(dns.message.make_query("evil.example.com.", "A", id=answer.id))
            return forged.to_wire()

        upstream._answer = other  # type: ignore[method-assign]
        async with served(*WEB, upstream=(upstream.address,)) as each:
            assert told(await each.udp("api.example.com.")) == ["SERVFAIL"]


@pytest.mark.parametrize(("bind", "addresses"), [(HERE, [f"A {HERE}"]), ("0.0.0.0", [])])
@on_both_loops
async def test_the_name_server_has_the_address_that_it_listens_on(bind: str, addresses: list[str]) -> None:
    async with served(*WEB, bind=bind) as each:
        assert told(await each.udp("ns.dns")) == addresses
