"""AddressRanges: a set of IP addresses, written as networks with commas between them.

In: `10.0.0.0/8, 192.0.2.7, 2001:db8::/32`, when a route is compiled. Out: whether an address is among them. Networks
are merged to ranges of numbers: ten thousand of them cost a request fourteen comparisons.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton

from ingressd.filters.values import items

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Range = tuple[int, int]

_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2
_MAPPED_BITS = 96
_CLIENTS = 4096
"""Addresses that are not read again."""
_EXAMPLE = 'addresses or networks with commas between them, as in "10.0.0.0/8, 192.0.2.7, 2001:db8::/32"'


@dataclass(frozen=True, slots=True)
class Ranges:
    """Of one version of IP: disjoint, ascending."""

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[_Range]) -> Ranges:
        """Those that touch become one."""
        merged: list[_Range] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(first for first, _ in merged), tuple(last for _, last in merged))


@dataclass(frozen=True, slots=True)
class AddressRanges:
    """IPv4 and IPv6. An IPv4 address that is mapped into IPv6 is that IPv4 address."""

    count: int
    """Of networks as they were written."""
    v4: Ranges
    v6: Ranges

    @classmethod
    def parse(cls, text: str) -> AddressRanges:
        """Raises ValueError, whose text continues `... must be`."""
        networks = [_network(item) for item in items(text)]
        if not networks:
            raise ValueError(_EXAMPLE)
        of_version: dict[int, list[_Range]] = {4: [], 6: []}
        for network in networks:
            of_version[network.version].append((int(network[0]), int(network[-1])))
        return cls(len(networks), Ranges.of(of_version[4]), Ranges.of(of_version[6]))

    def hold(self, packed: bytes) -> bool:
        """Whether the address that `packed_address` gave is among them."""
        ranges = self.v4 if len(packed) == 4 else self.v6
        number = int.from_bytes(packed, "big")
        index = bisect_right(ranges.first, number)
        return index > 0 and number <= ranges.last[index - 1]


def among(ranges: Iterable[AddressRanges], address: str) -> bool:
    """Whether `address` is in one of them; what is no address is in none."""
    packed = packed_address(address)
    return packed is not None and any(each.hold(packed) for each in ranges)


@lru_cache(maxsize=_CLIENTS)
def packed_address(text: str) -> bytes | None:
    """4 or 16 octets; None for what is no address."""
    try:
        if ":" not in text:
            return inet_pton(AF_INET, text)
        packed = inet_pton(AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _network(item: str) -> _Network:
    try:
        # Bits behind the prefix mean nothing, as in nginx and Go.
        network = ipaddress.ip_network(item, strict=False)
    except ValueError:
        raise ValueError(f"{_EXAMPLE}: not {item}") from None
    if network.version == 6 and "%" in item:
        raise ValueError(f"{_EXAMPLE}: {item} names a zone")
    if network.version == 6 and network.prefixlen >= _MAPPED_BITS and network[0].packed.startswith(_MAPPED):
        return ipaddress.IPv4Network((network[0].packed[12:], network.prefixlen - _MAPPED_BITS))
    return network
