"""NameFiles: what this machine's /etc/hosts and /etc/resolv.conf say, read again when they change.

In: the two files, and name servers that stand in for those of resolv.conf. Out: NameRules, by which a name is looked up
as libc does it. It never asks a name server.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dns.name
from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.nameserver import Do53Nameserver
from dns.resolver import NoResolverConfiguration

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"
CHECK_S = 1.0
"""The files are looked at no more often (glibc: at each call)."""
TRY_S = 2.0
"""One question to one name server (glibc 5 s)."""
LIFETIME_S = 5.0
"""One question to all of them, with repetitions (glibc 10 s for each name server)."""
NDOTS = 1
"""A name with so many dots is tried as it is before the search domains are (resolv.conf(5))."""
LOOPBACK = ("127.0.0.1", "::1")

_Stamp = tuple[int, int, int] | None

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NameRules:
    """The two files, read."""

    hosts: Mapping[str, tuple[str, ...]]
    """Addresses by name, in lower case and without a dot at the end."""
    resolver: Resolver

    def local(self, name: dns.name.Name) -> tuple[str, ...]:
        """Addresses that this machine knows without DNS."""
        text = name.to_text(omit_final_dot=True).lower()
        found = self.hosts.get(text, ())
        if not found and (text == "localhost" or text.endswith(".localhost")):
            return LOOPBACK  # RFC 6761 section 6.3: never asked of a name server
        return found

    def candidates(self, name: dns.name.Name) -> list[dns.name.Name]:
        """The absolute names that a name may mean, in the order in which libc tries them."""
        if name.is_absolute():
            return [name]
        resolver = self.resolver
        suffixes = resolver.search or ([] if resolver.domain == dns.name.root else [resolver.domain])
        searched = list(_joined(name, suffixes))
        own = list(_joined(name, [dns.name.root]))
        dots = len(name) - 1
        names = own + searched if dots >= (NDOTS if resolver.ndots is None else resolver.ndots) else searched + own
        return list(dict.fromkeys(names))


class NameFiles:
    """The NameRules of now. Files are read in a thread: some networks have long ones."""

    def __init__(
        self,
        servers: tuple[str, ...] = (),
        *,
        hosts: str = HOSTS,
        resolv_conf: str = RESOLV_CONF,
        check_s: float = CHECK_S,
    ) -> None:
        """`servers` are ADDRESS:PORT, IPv6 in brackets; without any, resolv.conf names them."""
        self._servers = [_name_server(server) for server in servers]
        self._paths = (hosts, resolv_conf)
        self._check_s = check_s
        self._lock = asyncio.Lock()
        self._rules: NameRules | None = None
        self._stamps: tuple[_Stamp, ...] = ()
        self._checked_at = 0.0

    async def rules(self) -> NameRules:
        """As the files are now, or were at most `check_s` ago."""
        async with self._lock:
            rules = self._rules
            if rules is None or time.monotonic() >= self._checked_at + self._check_s:
                rules = self._rules = await asyncio.to_thread(self._read, rules)
                self._checked_at = time.monotonic()
        return rules

    def _read(self, known: NameRules | None) -> NameRules:
        stamps = tuple(_stamp(path) for path in self._paths)
        if known is not None and stamps == self._stamps:
            return known
        self._stamps = stamps
        hosts, resolv_conf = self._paths
        return NameRules(_read_hosts(hosts), self._read_resolv_conf(resolv_conf))

    def _read_resolv_conf(self, path: str) -> Resolver:
        resolver = Resolver(configure=False)
        try:
            resolver.read_resolv_conf(path)
        except NoResolverConfiguration:
            pass  # no file, or no name server in it: the first question says so, if it matters
        except (DNSException, ValueError, OSError) as error:
            _log.warning("%s: %s", path, error)
        resolver.timeout = TRY_S
        resolver.lifetime = LIFETIME_S
        if self._servers:
            resolver.nameservers = self._servers
        return resolver


def _read_hosts(path: str) -> dict[str, tuple[str, ...]]:
    """hosts(5): an address, then names; lines that are something else are passed over, as libc does."""
    found: dict[str, list[str]] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                address, *names = line.partition("#")[0].split() or [""]
                if _is_address(address):
                    for name in names:
                        addresses = found.setdefault(name.lower().removesuffix("."), [])
                        if address not in addresses:
                            addresses.append(address)
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("%s: %s", path, error.strerror)
    return {name: tuple(addresses) for name, addresses in found.items()}


def _joined(name: dns.name.Name, suffixes: list[dns.name.Name]) -> Iterator[dns.name.Name]:
    for suffix in suffixes:
        try:
            yield name.concatenate(suffix)
        except DNSException:
            continue  # longer than a name can be, so it names nothing


def _name_server(text: str) -> Do53Nameserver:
    address, _, port = text.rpartition(":")
    return Do53Nameserver(address.strip("[]"), int(port))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _stamp(path: str) -> _Stamp:
    """What tells a changed file from the one before; None = not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
