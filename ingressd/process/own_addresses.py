"""The addresses of this machine, by what the kernel shows under /proc (proc(5)).

In: nothing but that. Out: addresses as Endpoints spell them. Where there is no such /proc, none is known. Reads files:
not for an event loop.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

_LEAF = "|-- "
_LOCAL = "/32 host LOCAL"
"""Behind a leaf of the routing table that is an address of ours."""


def own_addresses(root: str = "/proc") -> frozenset[str]:
    """All that connections from here to here may have, but for other ranges that a route makes local."""
    return frozenset((*_ipv4(root), *_ipv6(root)))


def _ipv4(root: str) -> Iterator[str]:
    address = ""
    for line in _lines(f"{root}/net/fib_trie"):
        text = line.strip()
        if text.startswith(_LEAF):
            address = text.removeprefix(_LEAF)
        elif text == _LOCAL:
            yield address


def _ipv6(root: str) -> Iterator[str]:
    for line in _lines(f"{root}/net/if_inet6"):
        digits = line.split(maxsplit=1)[0]
        yield str(ipaddress.IPv6Address(bytes.fromhex(digits)))


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return [line for line in file if line.strip()]
    except OSError:
        return []
