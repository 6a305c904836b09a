"""DnsLookup: what one target needs of DNS, asked round by round.

In: a Target, the NameRules of this machine. Out: Found: endpoints, for how long, and what is wrong. While DNS fails the
records of the last round that worked are used instead. It never waits for a TTL: dns.py does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dns.asyncbackend
import dns.name
import dns.rdatatype
from dns.exception import DNSException, Timeout
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV
from dns.resolver import NXDOMAIN

from ingressd.discovery.name_files import NameFiles, NameRules
from ingressd.table.endpoint import Endpoint

TTL_MAX_S = 5.0
"""Records are never believed for longer. Docker's name server says 600 s for names whose addresses change with every
`--scale`; Envoy re-resolves every 5 s whatever the TTL is."""
HOSTS_TTL_S = 5.0
"""For addresses that this machine's own files give."""
WEIGHT_MIN = 1
"""A weight of 0 in an SRV record means little traffic, not none (RFC 2782)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A name to look up. `service`: SRV records say the ports."""

    name: dns.name.Name
    port: int
    service: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of one round."""

    endpoints: tuple[Endpoint, ...]
    """Sorted, so that equal ones compare equal."""
    ttl_s: float
    absence: str = ""
    """Why DNS says that there are none."""
    failure: str = ""
    """Why DNS could not be asked. `endpoints` are then what was known before."""


@dataclass(frozen=True, slots=True)
class _Records:
    """The answer to one question."""

    records: tuple[Rdata, ...] = ()
    ttl_s: float = TTL_MAX_S
    exists: bool = True


_Question = tuple[dns.name.Name, RdataType]


class DnsLookup:
    """Remembers the records of the last round, for the next one that fails."""

    def __init__(self, target: Target, files: NameFiles, slots: asyncio.Semaphore) -> None:
        """`slots` bounds the questions under way of all lookups together."""
        self._target = target
        self._files = files
        self._slots = slots
        self._kept: dict[_Question, _Records] = {}

    async def ask(self) -> Found:
        """One round."""
        round_ = _Round(await self._files.rules(), self._slots, self._kept)
        endpoints = await round_.endpoints(self._target)
        self._kept = round_.known
        # A kind of record that fails while the other gives addresses is nobody's problem: some name servers never
        # answer for AAAA.
        failed = round_.failures and (round_.stale or not endpoints)
        return Found(
            tuple(sorted(endpoints, key=lambda endpoint: (endpoint.address, endpoint.port))),
            round_.ttl_s,
            absence="" if endpoints else round_.absence,
            failure="; ".join(sorted(round_.failures)) if failed else "",
        )


class _Round:
    """All questions of one round, and what became of them."""

    def __init__(self, rules: NameRules, slots: asyncio.Semaphore, kept: dict[_Question, _Records]) -> None:
        self._rules = rules
        self._slots = slots
        self._kept = kept
        self.known: dict[_Question, _Records] = {}
        self.failures: set[str] = set()
        self.stale = False
        """Records of an earlier round were used."""
        self.ttl_s = TTL_MAX_S
        self.absence = ""

    async def endpoints(self, target: Target) -> set[Endpoint]:
        if target.service:
            return await self._services(target.name)
        addresses = await self._addresses(target.name)
        return {Endpoint(address, target.port, source="dns") for address in addresses}

    async def _services(self, name: dns.name.Name) -> set[Endpoint]:
        services = [record for record in await self._search(name, RdataType.SRV) if isinstance(record, SRV)]
        lowest = min((service.priority for service in services), default=0)
        # A target of "." says that the service is not offered here (RFC 2782).
        chosen = [service for service in services if service.priority == lowest and service.target != dns.name.root]
        if services and not chosen:
            self.absence = "its SRV record says that it is not offered"
        addresses = await asyncio.gather(*(self._addresses(service.target) for service in chosen))
        weights: dict[tuple[str, int], int] = {}
        for service, found in zip(chosen, addresses, strict=True):
            for place in ((address, service.port) for address in found):
                weights[place] = max(WEIGHT_MIN, service.weight, weights.get(place, 0))
        return {Endpoint(*place, weight=weight, source="dns") for place, weight in weights.items()}

    async def _addresses(self, name: dns.name.Name) -> list[str]:
        if local := self._rules.local(name):
            self.ttl_s = min(self.ttl_s, HOSTS_TTL_S)
            return list(local)
        records = await self._search(name, RdataType.A, RdataType.AAAA)
        return _usable(record.address for record in records if isinstance(record, A | AAAA))

    async def _search(self, name: dns.name.Name, *kinds: RdataType) -> list[Rdata]:
        """The records of the first candidate that has any of these kinds."""
        exists = False
        for candidate in self._rules.candidates(name):
            found = await asyncio.gather(*(self._records(candidate, kind) for kind in kinds))
            records = [record for part in found for record in part.records]
            if records:
                self.ttl_s = min(self.ttl_s, *(part.ttl_s for part in found))
                return records
            exists = exists or any(part.exists for part in found)
        wanted = " or ".join(dns.rdatatype.to_text(kind) for kind in kinds)
        self.absence = f"it has no {wanted} record" if exists else "NXDOMAIN"
        return []

    async def _records(self, name: dns.name.Name, kind: RdataType) -> _Records:
        async with self._slots:
            try:
                answer = await self._rules.resolver.resolve(
                    name, kind, raise_on_no_answer=False, search=False, backend=_SOCKETS
                )
            except NXDOMAIN:
                records = _Records(exists=False)
            except DNSException as error:
                self.failures.add(_reason(error))
                records = self._kept.get((name, kind), _Records(exists=False))
                self.stale = self.stale or bool(records.records)
            else:
                found = tuple(answer.rrset or ())
                records = _Records(found, answer.chaining_result.minimum_ttl if found else TTL_MAX_S)
        self.known[name, kind] = records
        return records


class _Sockets:
    """dnspython's own, but a socket that is being opened while its watch is cancelled is closed: uvloop loses it."""

    def __init__(self) -> None:
        self._own: Any = dns.asyncbackend.get_backend("asyncio")

    async def make_socket(self, af: int, socktype: int, *details: Any, **more: Any) -> Any:
        opening = self._own.make_socket(af, socktype, *details, **more)
        if socktype != socket.SOCK_DGRAM:
            return await opening
        task = asyncio.ensure_future(opening)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                opened = await task  # no peer is waited for: it takes one turn of the loop
                await opened.close()
            raise

    def datagram_connection_required(self) -> bool:
        return False

    async def sleep(self, interval: float) -> None:
        await asyncio.sleep(interval)


_SOCKETS: Any = _Sockets()  # a Backend in shape; that class is not exported with its type


def _usable(addresses: Iterable[str]) -> list[str]:
    """Without IPv6 addresses that this machine has no way to, if there are others (RFC 6724 rule 1)."""
    known = list(addresses)
    usable = [address for address in known if ":" not in address or _has_route(address)]
    return usable or known


def _has_route(address: str) -> bool:
    """Connecting a datagram socket asks the kernel for a way and sends nothing."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def _reason(error: DNSException) -> str:
    """In the operator's words: dnspython's own text has times in it that differ at each try."""
    said: dict[str, None] = {}
    for server, _, _, problem, _ in error.kwargs.get("errors", ()):
        what = "no answer" if isinstance(problem, Timeout) else str(problem) or type(problem).__name__
        said[f"{what} from {str(server).removeprefix('Do53:').replace('@', ' port ')}"] = None
    if said:
        return ", ".join(said)
    return str(error) if "errors" not in error.kwargs else "no name server is known: /etc/resolv.conf names none"
