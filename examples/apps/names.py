"""A name server for one name, so that the ExternalName story works on a laptop without any network.

In: DNS queries over UDP. Out: the partner's loopback address; REFUSED for every other name, which sends the resolver
on to its next name server.
"""

from __future__ import annotations

import asyncio
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL_S = 5


class NameServer(asyncio.DatagramProtocol):
    """Answers A queries for `name` with `address`; any other type of record for it does not exist."""

    def __init__(self, name: str, address: str) -> None:
        self._name = dns.name.from_text(name)
        self._address = address
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        if self._transport is not None and query.question:
            self._transport.sendto(self._answer(query).to_wire(), addr)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        response = dns.message.make_response(query)
        if question.name != self._name:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA
        if question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", "A", self._address))
        return response


async def answer_for(name: str, address: str) -> tuple[asyncio.DatagramTransport, int]:
    """Start on a free UDP port of 127.0.0.1; returns the transport (close it to stop) and the port."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(name, address), local_addr=("127.0.0.1", 0)
    )
    return transport, transport.get_extra_info("sockname")[1]
