"""Reach: which addresses a manifest, or a name in it, may lead to (docs/decisions/0006).

In: an address as text, and the networks that the operator allows. Out: in a word what is wrong with it, or nothing.
It never knows where the address comes from, but for one question: whether it is an ExternalName's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LINK_LOCAL = "link-local"
LOOPBACK = "loopback"
METADATA = "a metadata service"
NOWHERE = "this machine itself"
"""Linux connects to localhost for it."""


class _Range(NamedTuple):
    """A network as numbers: this is asked for every endpoint of every Service."""

    version: int
    first: int
    last: int
    what: str


def _range(network: str, what: str) -> _Range:
    parsed = ipaddress.ip_network(network)
    return _Range(parsed.version, int(parsed[0]), int(parsed[-1]), what)


_EVERYWHERE = (
    _range("169.254.0.0/16", LINK_LOCAL),  # where most clouds have their metadata service
    _range("fe80::/10", LINK_LOCAL),
    _range("fd00:ec2::/32", METADATA),  # AWS, in IPv6: the instance's, the pods', name servers
    _range("fd20:ce::254/128", METADATA),  # Google, in IPv6
    _range("168.63.129.16/32", METADATA),  # Azure, WireServer
    _range("100.100.100.200/32", METADATA),  # Alibaba
    _range("192.0.0.192/32", METADATA),  # Oracle, classic
    _range("0.0.0.0/8", NOWHERE),
    _range("::/128", NOWHERE),
)
_OF_EXTERNAL_NAMES = (
    _range("127.0.0.0/8", LOOPBACK),
    _range("::1/128", LOOPBACK),
)

_COMPATIBLE = bytes(12)  # ::/96, RFC 4291 section 2.5.5.1
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2
_TRANSLATED = bytes(8) + b"\xff\xff\x00\x00"  # ::ffff:0:0:0/96, RFC 2765 section 2.1
_NAT64 = bytes.fromhex("0064ff9b") + bytes(8)  # 64:ff9b::/96, RFC 6052 section 2.1
_LOCAL_NAT64 = bytes.fromhex("0064ff9b0001")  # 64:ff9b:1::/48, RFC 8215
_6TO4 = bytes.fromhex("2002")  # 2002::/16, RFC 3056
_TEREDO = bytes.fromhex("20010000")  # 2001::/32, RFC 4380 section 4
_ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))  # RFC 5214 section 6.1


class Reach:
    """What the operator has decided with `--external-name-allow`."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = tuple(_range(network, "") for network in allowed)

    def refusal(self, text: str, *, external_name: bool = False) -> str:
        """What the address is that must not be reached; empty when it may be."""
        address = ipaddress.ip_address(text)
        written = (address.version, int(address))
        for meaning, refused in _meanings(address):
            version, number = asked = (meaning.version, int(meaning))
            for each in (*refused, *_OF_EXTERNAL_NAMES) if external_name else refused:
                if each.version == version and each.first <= number <= each.last:
                    if not (self._allows(*asked) or self._allows(*written)):
                        return each.what
                    break
        return ""

    def _allows(self, version: int, number: int) -> bool:
        return any(each.version == version and each.first <= number <= each.last for each in self._allowed)


def _meanings(address: Address) -> Iterator[tuple[Address, tuple[_Range, ...]]]:
    """The address, and the IPv4 addresses that a kernel or a translator takes it for, with what they must not be."""
    yield address, _EVERYWHERE
    if isinstance(address, ipaddress.IPv4Address):
        return
    packed = address.packed
    if packed.startswith(_MAPPED):
        # The kernel itself connects to this IPv4 address, whichever it is.
        yield ipaddress.IPv4Address(packed[12:]), _EVERYWHERE
        return
    for octets in dict.fromkeys(_embedded(packed)):
        if octets[0]:  # no translator sends to 0.0.0.0/8; ::1 and the rest of a longer prefix look like it
            yield ipaddress.IPv4Address(octets), _EVERYWHERE


def _embedded(packed: bytes) -> Iterator[bytes]:
    if packed.startswith((_COMPATIBLE, _TRANSLATED, _NAT64)) or packed[8:12] in _ISATAP:
        yield packed[12:]
    elif packed.startswith(_LOCAL_NAT64):
        # The length of the prefix is the network's choice: 48, 56, 64 or 96 bits (RFC 6052 section 2.2).
        yield packed[6:8] + packed[9:11]
        yield packed[7:8] + packed[9:12]
        yield packed[9:13]
        yield packed[12:]
    elif packed.startswith(_6TO4):
        yield packed[2:6]
    elif packed.startswith(_TEREDO):
        yield packed[4:8]
        yield bytes(octet ^ 0xFF for octet in packed[12:])
