"""dns: the endpoints are the addresses of a name, followed as its TTL says.

In: a target `NAME`, `NAME:PORT`, `_SERVICE._PROTOCOL.NAME` (SRV) or an IP address. Out: answers as they change. A name
that is gone has no endpoints from then on; while DNS itself fails the last good ones stay.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import dns.name
from dns.exception import DNSException

from ingressd.discovery.base import Answer, Query
from ingressd.discovery.dns_lookup import TTL_MAX_S, DnsLookup, Found, Target
from ingressd.discovery.name_files import NameFiles
from ingressd.discovery.static import split_port
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint

TTL_MIN_S = 1.0
"""For records with a TTL of 0 as well: DNS is never asked more often for one name."""
ABSENT_S = 1.0
"""A name that is gone is asked for again so soon: a container that is restarted has no name meanwhile. Name servers
cache what does not exist (RFC 2308), we do not."""
ABSENT_ROUNDS = 60
"""... so many times; then it is a mistake rather than a restart."""
ABSENT_LATER_S = 5.0
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 30.0
"""While DNS fails it is asked again after these, doubling in between."""
RETRY_EMPTY_MAX_S = 5.0
"""The same, when there is no good answer to go on with."""
QUESTIONS = 128
"""Under way at once, each with a socket of its own (dnsmasq answers 150 at a time)."""

Sleep = Callable[[float], Awaitable[None]]


class DnsDiscovery:
    """The provider `dns`. Its watches share the bound on questions and what the machine's files say."""

    def __init__(self, settings: Settings, *, files: NameFiles | None = None, sleep: Sleep = asyncio.sleep) -> None:
        self._files = files or NameFiles(settings.dns_servers)
        self._slots = asyncio.Semaphore(QUESTIONS)
        self._sleep = sleep

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        """Ends at once only for an IP address and for a target that is no name: neither will ever change."""
        try:
            target = _target(query)
        except ValueError as mistake:
            yield Answer(problem=str(mistake))
            return
        if isinstance(target, Endpoint):
            yield Answer((target,))
            return
        lookup = DnsLookup(target, self._files, self._slots)
        course = _Course(query.target)
        while True:
            found = await lookup.ask()
            problem = course.problem(found)
            yield Answer(found.endpoints, problem)
            await self._sleep(course.wait_s(found))


class _Course:
    """How one watch goes: for how long DNS fails or the name is gone already."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failure = ""
        self._failures = 0
        self._absences = 0

    def problem(self, found: Found) -> str:
        """Count this round, and say what is wrong, in the same words until it changes."""
        self._failures = self._failures + 1 if found.failure else 0
        self._absences = self._absences + 1 if found.absence and not found.failure else 0
        if found.failure:
            if self._failures == 1:
                since = datetime.now(UTC).isoformat(timespec="seconds")
                kept = "the last good addresses stay in use" if found.endpoints else "no address is known"
                self._failure = f"{self._name}: DNS has failed since {since} ({found.failure}); {kept}"
            return self._failure
        return f"{self._name} does not resolve ({found.absence})" if found.absence else ""

    def wait_s(self, found: Found) -> float:
        """How long this round's outcome stands."""
        if self._failures:
            longest = RETRY_MAX_S if found.endpoints else RETRY_EMPTY_MAX_S
            return min(RETRY_FIRST_S * 2.0 ** min(self._failures - 1, 16), longest)
        if self._absences:
            return ABSENT_S if self._absences <= ABSENT_ROUNDS else ABSENT_LATER_S
        return min(max(found.ttl_s, TTL_MIN_S), TTL_MAX_S)


def _target(query: Query) -> Target | Endpoint:
    """Raises ValueError, with the way out."""
    host, own_port = split_port(query.target)
    port = own_port or query.port
    try:
        return Endpoint(str(ipaddress.ip_address(host)), port, source="dns")
    except ValueError:
        pass
    try:
        name = dns.name.from_text(host, origin=None)
    except (DNSException, ValueError) as error:
        raise ValueError(f"{query.target!r} is not a DNS name: {error}") from None
    if not name.labels or name == dns.name.root or ":" in host or "/" in host or any(map(str.isspace, host)):
        raise ValueError(f"{query.target!r} is not a DNS name: write NAME, NAME:PORT or _SERVICE._PROTOCOL.NAME")
    service = host.startswith("_")
    if service and own_port is not None:
        raise ValueError(f"{query.target!r}: SRV records say the ports; remove :{own_port}")
    return Target(name, port, service=service)
