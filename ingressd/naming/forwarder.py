"""Forwarder: other name servers, for names that the zone has not.

In: a query and the name that is wanted. Out: a response that is complete, or one that says that nobody knows. Each
question leaves with an id and from a port that nobody can guess, and only its own answer counts.
"""

from __future__ import annotations

from collections.abc import Iterable

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
from dns.exception import DNSException
from dns.message import Message
from dns.name import Name

from ingressd.discovery.static import split_port
from ingressd.naming.answers import UDP_BYTES, Response, failed

TIMEOUT_S = 2.0
"""For one server to answer over UDP, and again over TCP when the answer is too long for UDP."""

_NO_HELP = frozenset({dns.rcode.SERVFAIL, dns.rcode.REFUSED})
"""Answers after which the next server is asked."""


class Forwarder:
    """Asks one server after another."""

    def __init__(self, servers: Iterable[str]) -> None:
        """`servers`: ADDRESS:PORT."""
        self._servers = tuple((host, port or 53) for host, port in map(split_port, servers))

    async def complete(self, query: Message, response: Response) -> Message:
        """The response with what the others say."""
        if response.ask is None:
            return response.message
        answer = await self._ask(query, response.ask)
        if answer is None:
            return failed(query, recursive=True)
        message = response.message
        message.answer += answer.answer
        if response.outside:
            message.authority, message.additional = answer.authority, answer.additional
        message.set_rcode(answer.rcode())
        return message

    async def _ask(self, query: Message, name: Name) -> Message | None:
        wanted = bool(query.ednsflags & dns.flags.DO)
        answer = None
        for host, port in self._servers:
            question = dns.message.make_query(
                name, query.question[0].rdtype, use_edns=0, payload=UDP_BYTES, want_dnssec=wanted
            )
            question.flags |= query.flags & dns.flags.CD
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(
                    question, host, TIMEOUT_S, port, ignore_unexpected=True, ignore_errors=True
                )
            except (DNSException, OSError, EOFError):
                continue
            if answer.rcode() not in _NO_HELP:
                break
        return answer
