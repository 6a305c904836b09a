"""Claims: who has which port, when several want the same one.

In: what Services want to open, the older Service first, and the program's own ports, which win. Out: the listeners,
where each is written, and faults for what is refused. What a Service wants is for service_ports.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ingressd.compile.made import PoolName
from ingressd.compile.options import CompileOptions
from ingressd.compile.service_ports import Opening
from ingressd.errors import Fault, Severity
from ingressd.model.resource import Resource
from ingressd.model.service import Service
from ingressd.model.shape import Loc
from ingressd.table.stream import CLUSTER_IP, EXTERNAL_IP, LOAD_BALANCER, NODE_PORT, TCP, StreamListener

Name = tuple[str, str]

_ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to
_WORDS = {NODE_PORT: "nodePort", LOAD_BALANCER: "port", CLUSTER_IP: "port", EXTERNAL_IP: "port"}


class Origin(NamedTuple):
    """Where a listener is written."""

    service: Resource[Service]
    loc: Loc


class Claims:
    """Who has which port. An edit is taken in only while nobody was refused one: then the order does not matter."""

    def __init__(self, options: CompileOptions, faults: list[Fault]) -> None:
        self.listeners: dict[str, StreamListener] = {}
        self.origins: dict[str, Origin] = {}
        self.pools: dict[PoolName, None] = {}
        self.addressed: set[Name] = set()
        """The Services that have a listener on their virtual address."""
        self._own = options.streams.own
        self._faults = faults
        self._most = options.streams.most_cluster_listeners
        self._cluster_listeners = 0
        self.contested = False
        """Somebody was refused a port."""
        self.left_out: list[Resource[Service]] = []
        """There were no descriptors for their virtual addresses."""
        self._by_port: dict[tuple[str, int], list[StreamListener]] = {}
        """Without cluster IPs: those have no neighbours."""

    def add(self, service: Resource[Service], opening: Opening) -> None:
        """Give it the port, or say who has it."""
        listener = opening.listener
        key = opening.key
        if rival := self._rival(listener, key):
            if rival != listener.pool:
                self._refuse(service, opening, rival)
            return
        if listener.role == CLUSTER_IP:
            if self._most and self._cluster_listeners >= self._most:
                self.left_out.append(service)
                return
            self._cluster_listeners += 1
            self.addressed.add((service.namespace, service.name))
        else:
            self._by_port.setdefault((listener.protocol, listener.port), []).append(listener)
        self.listeners[key] = listener
        self.origins[key] = Origin(service, opening.loc)
        self.pools[opening.pool] = None

    def edit(self, *, ports: bool) -> None:
        """An edit begins, with `ports` one of the ports, too: what was handed out stays as it is."""
        self.origins = dict(self.origins)
        if ports:
            self.listeners, self.pools = dict(self.listeners), dict(self.pools)

    def move(self, service: Resource[Service], opening: Opening) -> None:
        """What it has is written elsewhere now."""
        origin = self.origins.get(opening.key)
        if origin is not None and origin.service.key == service.key:
            self.origins[opening.key] = Origin(service, opening.loc)

    def drop(self, name: Name, openings: Iterable[Opening]) -> None:
        """It wants them no more. Nobody was refused one, so nobody waits for them."""
        for opening in openings:
            self.pools.pop(opening.pool, None)
            listener = self.listeners.get(opening.key)
            if listener is None or (listener.namespace, listener.service) != name:
                continue
            del self.listeners[opening.key], self.origins[opening.key]
            if listener.role == CLUSTER_IP:
                self._cluster_listeners -= 1
                self.addressed.discard(name)
            else:
                self._by_port[listener.protocol, listener.port].remove(listener)

    def close(self) -> None:
        """That were all."""
        if self.left_out:
            first, count = self.left_out[0], len(self.left_out)
            more = f" and {count - 1} more ports of Services" if count > 1 else ""
            message = (
                f"the virtual address of {first.key}{more} cannot be opened: there are descriptors for {self._most}"
            )
            hint = "raise the limit of open files: ulimit -n, LimitNOFILE="
            self._faults.append(first.fault(Severity.ERROR, "cluster_ips_limit", message, hint, ("spec",)))

    def _rival(self, listener: StreamListener, key: str) -> str:
        """Who has the port already, in words; the listener's own pool when that is served there; empty = nobody."""
        alone = listener.role == CLUSTER_IP
        for own in self._own:
            same = own.port == listener.port and (own.udp or listener.protocol == TCP)
            if same and _meet(own.address, listener.address, exactly=alone):
                return f"ingressd's own {own.flag}"
        exact = self.listeners.get(key)
        others = () if alone else self._by_port.get((listener.protocol, listener.port), ())
        for other in others if exact is None else (exact,):
            if _meet(other.address, listener.address, exactly=False):
                return listener.pool if other.pool == listener.pool else self._shown(other)
        return ""

    def _shown(self, listener: StreamListener) -> str:
        origin = self.origins[listener.key]
        return f"{_WORDS[listener.role]} of {origin.service.key} ({origin.service.place(*origin.loc)})"

    def _refuse(self, service: Resource[Service], opening: Opening, rival: str) -> None:
        self.contested = True
        listener = opening.listener
        message = (
            f"{_WORDS[listener.role]} {listener.port}/{listener.protocol} of {service.key} is not opened on"
            f" {listener.address}: {rival} has it"
        )
        hint = "choose another port for one of them"
        self._faults.append(service.fault(Severity.ERROR, "port_taken", message, hint, opening.loc))


def _meet(one: str, other: str, *, exactly: bool) -> bool:
    """Whether what comes to one address may come to the other."""
    if one == other:
        return True
    if exactly:
        return False
    if "::" in (one, other):
        return True
    return bool({one, other} & _ANY) and ":" not in one + other
