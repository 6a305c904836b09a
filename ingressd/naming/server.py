"""DnsServer: the zone over UDP and TCP (RFC 1035, RFC 7766), on sockets that somebody else opened.

In: settings, a Compilation at a time, sockets. Out: answers, and counts of them. What can be answered at once is; the
rest takes a task, of which there are not many. Whatever comes in, nothing is raised and no answer is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Sequence
from typing import cast

from dns.exception import DNSException
from dns.message import Message

from ingressd.compile.compilation import Compilation
from ingressd.naming.answers import TCP_BYTES, failed, kind_of, needs_names, rcode_of, read, respond, udp_bytes
from ingressd.naming.forwarder import Forwarder
from ingressd.naming.zone import Zone
from ingressd.settings import Settings

TASKS = 150
"""Queries over UDP that wait for others (dnsmasq's dns-forward-max). One more gets SERVFAIL, and may ask again."""
TCP_CONNECTIONS = 150
"""BIND's tcp-clients. One more is closed."""
TCP_IDLE_S = 10.0
"""For a whole query to come, and for an answer to be taken (CoreDNS's idle timeout)."""
QUERY_BYTES = 4096
"""Of a query over TCP; one has a single question and seldom more than 300 bytes."""

_log = logging.getLogger(__name__)

_Address = tuple[str, int] | tuple[str, int, int, int]


class DnsServer:
    """Serves from start() to close(), on the running loop."""

    def __init__(self, settings: Settings) -> None:
        self._domain = settings.cluster_domain
        self._addresses: tuple[str, ...] = ()
        """Where it is served, as far as that is known: on every address, nobody knows which clients can reach."""
        self._zone: Zone | None = None
        """None = nothing is known yet; queries are told to try again."""
        self.queries: Counter[tuple[str, ...]] = Counter()
        """Answers by type of question and response code."""
        self._forwarder = Forwarder(settings.dns_upstream) if settings.dns_upstream else None
        self._reversing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []

    def serve(self, compilation: Compilation, serial: int) -> None:
        """From now on the names of `compilation`."""
        self._zone = Zone(compilation, self._domain, serial=serial, server=self._addresses)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on these sockets; they belong to us from now on."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            address = sock.getsockname()[0]
            if address not in self._addresses and not ipaddress.ip_address(address).is_unspecified:
                self._addresses = (*self._addresses, address)
                if self._zone is not None:
                    self._zone.server = self._addresses
            if sock.type == socket.SOCK_DGRAM:
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
                self._transports.append(transport)
            else:
                self._servers.append(await asyncio.start_server(self._connected, sock=sock))

    async def close(self) -> None:
        """Answer nothing any more."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        ending = [*self._tasks, *self._connections]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def datagram(self, wire: bytes, address: _Address, transport: asyncio.DatagramTransport) -> None:
        """One datagram has come."""
        query = read(wire)
        if isinstance(query, bytes):
            self._count("other", query)
            _send(transport, query, address)
        elif query is not None:
            answer = self._at_once(query, udp_bytes(query))
            if answer is None and len(self._tasks) < TASKS:
                task = asyncio.create_task(self._later(query, address, transport))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self._reply(query, answer or self._failed(query), address, transport)

    def _at_once(self, query: Message, limit: int) -> Message | None:
        """The answer, unless something has to be waited for."""
        if self._must_reverse(query):
            return None
        response = respond(query, self._zone, recursive=self._forwarder is not None, limit=limit)
        return response.message if response.ask is None or self._forwarder is None else None

    async def _answer(self, query: Message, limit: int) -> Message:
        zone = self._zone
        if zone is not None and self._must_reverse(query):
            async with self._reversing:
                if not zone.reversed:
                    await asyncio.to_thread(zone.reverse)
        response = respond(query, zone, recursive=self._forwarder is not None, limit=limit)
        return response.message if self._forwarder is None else await self._forwarder.complete(query, response)

    def _must_reverse(self, query: Message) -> bool:
        return self._zone is not None and not self._zone.reversed and needs_names(query)

    async def _later(self, query: Message, address: _Address, transport: asyncio.DatagramTransport) -> None:
        self._reply(query, await self._answer(query, udp_bytes(query)), address, transport)

    def _reply(self, query: Message, answer: Message, address: _Address, transport: asyncio.DatagramTransport) -> None:
        _send(transport, self._rendered(query, answer, udp_bytes(query)), address)

    def _rendered(self, query: Message, answer: Message, limit: int) -> bytes:
        """The answer within `limit` bytes, else what fits of it, and that it is not all."""
        try:
            wire = answer.to_wire(max_size=limit, prefer_truncation=True)
        except (DNSException, ValueError):
            _log.exception("an answer could not be written")
            answer = self._failed(query)
            wire = answer.to_wire()
        self._count(kind_of(query), answer)
        return wire

    def _failed(self, query: Message) -> Message:
        return failed(query, recursive=self._forwarder is not None)

    def _count(self, kind: str, answer: Message | bytes) -> None:
        self.queries[kind, rcode_of(answer)] += 1

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        task = asyncio.current_task()
        if task is None or len(self._connections) >= TCP_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                while await self._exchanged(reader, writer):
                    pass
                writer.close()
                async with asyncio.timeout(TCP_IDLE_S):
                    await writer.wait_closed()
        finally:
            self._connections.discard(task)
            # What a client has not taken by now keeps no connection open.
            writer.transport.abort()

    async def _exchanged(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One query and its answer. False = the connection is over."""
        try:
            async with asyncio.timeout(TCP_IDLE_S):
                length = int.from_bytes(await reader.readexactly(2), "big")
                query = read(await reader.readexactly(length)) if length <= QUERY_BYTES else None
        except (EOFError, TimeoutError):
            return False
        if query is None:
            return False
        if isinstance(query, bytes):
            wire = query
            self._count("other", wire)
        else:
            wire = self._rendered(query, await self._answer(query, TCP_BYTES), TCP_BYTES)
        writer.write(len(wire).to_bytes(2, "big") + wire)
        async with asyncio.timeout(TCP_IDLE_S):
            await writer.drain()
        return True


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to the server."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no subclass.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: _Address) -> None:
        if self._transport is not None:
            self._server.datagram(data, addr, self._transport)


def _send(transport: asyncio.DatagramTransport, wire: bytes, address: _Address) -> None:
    # A forged source may be nowhere, or have the port 0.
    with contextlib.suppress(OSError, ValueError):
        transport.sendto(wire, address)
