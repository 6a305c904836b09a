"""A real name server on loopback, UDP and TCP on one port, that answers what a test tells it to."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rcode import Rcode

_PORT_TRIES = 20


class DnsServer(asyncio.DatagramProtocol):
    """Names that no test spoke of do not exist (NXDOMAIN); kinds of record that a name lacks have no data."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], dns.rrset.RRset] = {}
        self._aliases: dict[str, dns.rrset.RRset] = {}
        self._rcodes: dict[tuple[str, str], Rcode] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self.asked: list[tuple[str, str, str]] = []
        """(name, kind, `udp` or `tcp`), in the order in which questions came."""
        self.everything: Rcode | None = None
        """Answered to every question, whatever is known."""
        self.silent = False
        self.truncating = False
        """Over UDP only an empty answer with the flag TC goes out."""
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, kind: str, *values: str, ttl: int = 60) -> None:
        """Replaces what was there."""
        self._records[name, kind] = dns.rrset.from_text(name, ttl, "IN", kind, *values)

    def alias(self, name: str, target: str, ttl: int = 60) -> None:
        """A CNAME; the target's records go along."""
        self._aliases[name] = dns.rrset.from_text(name, ttl, "IN", "CNAME", target)

    def remove(self, name: str) -> None:
        """The name does not exist from now on."""
        for key in [key for key in self._records if key[0] == name]:
            del self._records[key]

    def fail(self, name: str, kind: str, rcode: Rcode = Rcode.SERVFAIL) -> None:
        """One kind of question for one name gets this code."""
        self._rcodes[name, kind] = rcode

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data, "udp")
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question over TCP (RFC 1035 section 4.2.2: two bytes of length come first)."""
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = self._answer(await reader.readexactly(length), "tcp")
        if answer is not None:
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    def _answer(self, data: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        if self.silent:
            return None
        response = dns.message.make_response(query)
        rcode = self.everything if self.everything is not None else self._rcodes.get((name, kind))
        if rcode is not None:
            response.set_rcode(rcode)
        elif self.truncating and transport == "udp":
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, kind)
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        if name in self._aliases:
            response.answer.append(self._aliases[name])
            name = self._aliases[name][0].to_text()
        if (name, kind) in self._records:
            response.answer.append(self._records[name, kind])
        elif not any(known == name for known, _ in self._records):
            response.set_rcode(Rcode.NXDOMAIN)


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """Listens on a port that is free for both transports."""
    server = DnsServer()
    for _ in range(_PORT_TRIES):
        tcp = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = tcp.sockets[0].getsockname()[1]
        try:
            udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: server, local_addr=("127.0.0.1", server.port)
            )
            break
        except OSError:
            tcp.close()
            await tcp.wait_closed()
    else:
        raise AssertionError("no port is free for both UDP and TCP")
    yield server
    udp.close()
    tcp.close()
    await tcp.wait_closed()
