"""Gate: how many connections a worker holds, in all and of one client.

In: the addresses of accepted connections. Out: Admissions, each one place, and accept loops that pause while there is
no place left. It never knows what is spoken on a connection.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from typing import Any, Protocol

from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits

logger = logging.getLogger(__name__)

_DESCRIPTORS_PERCENT = 80  # the rest is for connections to endpoints, listening sockets and files
_IPV4_IN_IPV6 = "::ffff:"


class Accepting(Protocol):
    """What the gate stops and starts; plain.AcceptLoop is one."""

    def pause(self) -> None:
        """Leave new connections in the backlog."""

    def resume(self) -> None:
        """Accept again."""


class Admission:
    """One connection's place in the worker, and whose it is."""

    __slots__ = ("_gate", "address", "port")

    local_port = 0
    """What the client has connected to, when a proxy has said it; 0: the listening socket's."""
    named = True
    """Whether it is known whose it is. Else what is claimed about that is not believed, whoever the peer is."""

    def __init__(self, gate: Gate, address: str, port: int) -> None:
        self.address = address
        """The client's, an IPv4 one as IPv4 even when the socket speaks IPv6."""
        self.port = port
        self._gate: Gate | None = gate

    def end(self) -> None:
        """Give the place back. A second call does nothing."""
        gate = self._gate
        if gate is not None:
            self._gate = None
            gate.left(self.address)


class Gate:
    """Gives places out and takes them back. One per worker."""

    def __init__(self, limits: Limits, stats: WorkerStats) -> None:
        self.capacity = _capacity(limits.connections)
        self._most = self.capacity
        self.count = 0
        """Places that are taken: handshakes under way and connections."""
        self.empty = asyncio.Event()
        """Set while no place is taken."""
        self.empty.set()
        self._stats = stats
        self._per_client = limits.connections_per_client
        self._by_client: dict[str, int] = {}
        """Only when there is a bound, and only of clients that are connected."""
        self._loops: list[Accepting] = []
        self._full = False

    def guard(self, loop: Accepting) -> None:
        """Pause this loop, too, when there is no place left."""
        self._loops.append(loop)

    def reserve(self, listeners: int) -> None:
        """So many descriptors are taken by listening sockets that come and go: the places are of the rest."""
        self.capacity = min(self._most, max(1, _bound(listeners)))
        if self._full:
            self._settle()

    def admit(self, peer: Any) -> Admission | None:
        """A place for the connection from `peer`, an address as accept(2) gives it. None: its client has enough."""
        address = plain_address(peer[0])
        if self._per_client:
            held = self._by_client.get(address, 0)
            if held >= self._per_client:
                self._stats.connections_refused_total += 1
                return None
            self._by_client[address] = held + 1
        if not self.count:
            self.empty.clear()
        self.count += 1
        if self.count >= self.capacity:
            self._full = True
            self._stats.accept_pauses_total += 1
            for loop in self._loops:
                loop.pause()
        return Admission(self, address, peer[1])

    def left(self, address: str) -> None:
        """A place is free again; Admission.end calls this."""
        self.count -= 1
        if self._per_client:
            held = self._by_client[address] - 1
            if held:
                self._by_client[address] = held
            else:
                del self._by_client[address]
        if not self.count:
            self.empty.set()
        if self._full:
            self._settle()

    def _settle(self) -> None:
        if self.count < self.capacity:
            self._full = False
            for loop in self._loops:
                loop.resume()


def _capacity(connections: int) -> int:
    bound = max(1, _bound(0))
    if bound < connections:
        logger.info(
            "at most %d connections instead of %d: there are %d descriptors (raise the limit: ulimit -n, LimitNOFILE=)",
            bound,
            connections,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
    return min(connections, bound)


def _bound(listeners: int) -> int:
    """Connections that there are descriptors for."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return sys.maxsize
    return (descriptors - listeners) * _DESCRIPTORS_PERCENT // 100


def plain_address(address: str) -> str:
    """Without the prefix of IPv4 in IPv6, and without the interface of a link-local address."""
    if address.startswith(_IPV4_IN_IPV6) and "." in address:
        return address[len(_IPV4_IN_IPV6) :]
    return address.partition("%")[0]
