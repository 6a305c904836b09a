"""Node ports of Services that want one and do not say which.

In: who wants a port, the ports that are written down, what the run before gave. Out: a port for each. Pure: the same
Services get the same ports after a restart; an edit moves no port of a Service that stays, unless another one writes
that port as its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

FIRST = 30_000
LAST = 32_767
"""kube-apiserver's --service-node-port-range."""


class PortKey(NamedTuple):
    """A port of a Service."""

    namespace: str
    service: str
    port: int
    protocol: str


def node_ports(
    wanting: Iterable[PortKey], written: Collection[int], previous: Mapping[PortKey, int]
) -> dict[PortKey, int]:
    """A port of the range for each, none of `written`. When the range is full, those that are left get none."""
    keys = sorted(wanting)
    taken = set(written)
    given: dict[PortKey, int] = {}
    for key in keys:
        port = previous.get(key)
        if port is not None and port not in taken:
            given[key] = port
            taken.add(port)
    count = LAST - FIRST + 1
    room = count - sum(FIRST <= port <= LAST for port in taken)
    for key in keys:
        if key in given:
            continue
        if room <= 0:
            break
        room -= 1
        place = _hash(key) % count
        while FIRST + place in taken:
            place = (place + 1) % count
        given[key] = FIRST + place
        taken.add(FIRST + place)
    return given


def _hash(key: PortKey) -> int:
    # Of all processes and runs, which hash() is not.
    return int.from_bytes(blake2b("/".join(map(str, key)).encode(), digest_size=8).digest(), "big")
