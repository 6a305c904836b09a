"""Cluster IPs: the virtual address of each Service, without a cluster that keeps a register of them.

In: Services, the network, the addresses of the run before. Out: an address for each Service that has one. Pure: the
same Services get the same addresses after a restart, in any order; an edit moves no address of a Service that stays,
unless another one writes that address as its own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Container, Iterable, Mapping
from hashlib import blake2b

from ingressd.model.resource import Resource
from ingressd.model.service import Service

_NEVER = "~"
"""What has no creationTimestamp comes after what has one."""


def has_cluster_ip(service: Service) -> bool:
    """Headless Services and ExternalNames have none."""
    return service.spec.type != "ExternalName" and not service.headless


def cluster_ips(
    services: Iterable[Resource[Service]],
    network: ipaddress.IPv4Network,
    previous: Mapping[tuple[str, str], str],
) -> dict[tuple[str, str], str]:
    """Namespace and name -> address. When the network is full, the Services that are left get none.

    What is written in spec.clusterIP comes first, if it is in the network and free: of several Services with the same
    one, the oldest has it. Then what `previous` says, then a hash of the name, with linear probing.
    """
    wanting = {each.key[1:]: each for each in services if has_cluster_ip(each.object)}
    free = _Free(network)
    given: dict[tuple[str, str], str] = {}
    for name, _ in sorted(((name, each) for name, each in wanting.items() if each.object.spec.cluster_ip), key=_age):
        written = _number(wanting[name].object.spec.cluster_ip or "")
        if free.take(written):
            given[name] = _text(written)
    for name in wanting:
        address = previous.get(name)
        if address is not None and name not in given and free.take(_number(address)):
            given[name] = address
    if len(given) < len(wanting):
        for name in sorted(wanting.keys() - given.keys()):
            number = free.take_from(_hash(name))
            if number is None:
                break
            given[name] = _text(number)
    return given


def one_more(name: tuple[str, str], network: ipaddress.IPv4Network, taken: Container[str]) -> str | None:
    """The address that `cluster_ips` gives to a further Service which writes none; None = the network is full."""
    first, count = _room(network)
    start = _hash(name)
    for step in range(count):
        address = _text(first + (start + step) % count)
        if address not in taken:
            return address
    return None


def _room(network: ipaddress.IPv4Network) -> tuple[int, int]:
    """The first address that may be given, and how many there are."""
    # Not the network's own, the first (a cluster has its DNS server there), nor the one for broadcasts.
    return int(network.network_address) + 2, max(0, network.num_addresses - 3)


class _Free:
    """The addresses that nobody has."""

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        self._first, self._count = _room(network)
        self._after: dict[int, int] = {}
        """Taken place -> a later one, up to the count, that may be free: a full network is not walked for each."""

    def take(self, number: int) -> bool:
        """Whether the address was free."""
        place = number - self._first
        if not 0 <= place < self._count or place in self._after:
            return False
        self._after[place] = (place + 1) % self._count
        return True

    def take_from(self, start: int) -> int | None:
        """The first free address from one that is derived of `start`; None = the network is full."""
        if len(self._after) == self._count:
            return None
        after = self._after
        place = start % self._count
        passed: list[int] = []
        while place in after:
            passed.append(place)
            place = after[place]
        after.update(dict.fromkeys(passed, place))
        number = self._first + place
        self.take(number)
        return number


def _age(item: tuple[tuple[str, str], Resource[Service]]) -> tuple[str, tuple[str, str]]:
    name, service = item
    return service.object.metadata.creation_timestamp or _NEVER, name


def _hash(name: tuple[str, str]) -> int:
    # Of all processes and runs, which hash() is not.
    return int.from_bytes(blake2b("/".join(name).encode(), digest_size=8).digest(), "big")


def _number(address: str) -> int:
    """-1 for what is no IPv4 address."""
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
    except OSError:
        return -1


def _text(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))
