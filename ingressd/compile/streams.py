"""Streams: the layer-4 listeners of all Services, each port opened once however many want it.

In: Services, what the operator decided. Out: StreamListeners by key, where each is written, the pools that they need,
and faults where two want the same port. The program's own ports win, then the older Service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress
from operator import is_not
from typing import NamedTuple

from ingressd.compile.cluster_ips import cluster_ips, has_cluster_ip
from ingressd.compile.kept import Kept
from ingressd.compile.made import PoolName
from ingressd.compile.node_ports import FIRST, LAST, PortKey, node_ports
from ingressd.compile.options import CompileOptions
from ingressd.compile.service_ports import NOTHING, Opening, Openings, needs_node_ports, openings, port_key
from ingressd.errors import Fault, Severity
from ingressd.model.resource import Resource
from ingressd.model.service import Service
from ingressd.model.shape import Loc
from ingressd.table.stream import CLUSTER_IP, EXTERNAL_IP, LOAD_BALANCER, NODE_PORT, TCP, StreamListener

Name = tuple[str, str]

_NEVER = "~"
"""What has no creationTimestamp comes after what has one."""
_ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to
_WORDS = {NODE_PORT: "nodePort", LOAD_BALANCER: "port", CLUSTER_IP: "port", EXTERNAL_IP: "port"}


class Origin(NamedTuple):
    """Where a listener is written."""

    service: Resource[Service]
    loc: Loc


@dataclass(frozen=True, slots=True)
class Streams:
    """What all Services open."""

    listeners: Mapping[str, StreamListener] = field(default_factory=dict)
    """By StreamListener.key."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """By the same key."""
    pools: tuple[PoolName, ...] = ()
    cluster_ips: Mapping[Name, str] = field(default_factory=dict)
    """Namespace and name -> the virtual address; empty unless they are switched on."""
    node_ports: Mapping[PortKey, int] = field(default_factory=dict)
    """Those that were given, not those that are written."""


class _Opened(NamedTuple):
    """What a Service was found to want, and of what."""

    cluster_ip: str
    ports: tuple[int, ...]
    openings: Openings


class _Whole(NamedTuple):
    """A run, and what it was of."""

    services: Mapping[Name, Resource[Service]]
    streams: Streams
    faults: list[Fault]


class StreamMemory:
    """What the last run made, of the same options. Addresses and node ports live on when the options change."""

    def __init__(self, before: StreamMemory | None) -> None:
        self.opened: Kept[Resource[Service], _Opened] = Kept()
        self.whole: _Whole | None = None
        self.cluster_ips: Mapping[Name, str] = {} if before is None else before.cluster_ips
        self.node_ports: Mapping[PortKey, int] = {} if before is None else before.node_ports


def compile_streams(
    services: Mapping[Name, Resource[Service]], options: CompileOptions, faults: list[Fault], memory: StreamMemory
) -> Streams:
    """One run. Most edits concern no Service, or one that opens nothing: then it is the last one."""
    whole = memory.whole
    if whole is not None and _opens_the_same(whole.services, services, options):
        whole = memory.whole = whole._replace(services=services)
    else:
        memory.opened.turn()
        found: list[Fault] = []
        whole = memory.whole = _Whole(services, _compiled(services, options, found, memory), found)
    faults += whole.faults
    return whole.streams


def _opens_the_same(
    before: Mapping[Name, Resource[Service]], now: Mapping[Name, Resource[Service]], options: CompileOptions
) -> bool:
    """Whether that is clear without a look at all of 50,000 Services, which takes a tenth of a second."""
    if before is now:
        return True
    if len(before) != len(now):
        return False
    edited = compress(zip(before.values(), now.values(), strict=True), map(is_not, before.values(), now.values()))
    return all(
        one.key == other.key and _opens_nothing(one, options) and _opens_nothing(other, options)
        for one, other in edited
    )


def _opens_nothing(service: Resource[Service], options: CompileOptions) -> bool:
    """And there is nothing to say of it."""
    if options.streams.cluster_ips or needs_node_ports(service.object, options.streams):
        return False
    return openings(service, options, "", {}) == NOTHING


def _compiled(
    services: Mapping[Name, Resource[Service]], options: CompileOptions, faults: list[Fault], memory: StreamMemory
) -> Streams:
    addresses = memory.cluster_ips = _addresses(services, options, faults, memory)
    given = memory.node_ports = _given(services.values(), options, faults, memory)
    wanting: list[tuple[Resource[Service], Openings]] = []
    for name, service in services.items():
        found = _openings(service, options, addresses.get(name, ""), given, memory)
        faults += found.faults
        if found.wanted:
            wanting.append((service, found))
    claims = _Claims(options, faults)
    for service, found in sorted(wanting, key=_age):
        for opening in found.wanted:
            claims.add(service, opening)
    claims.close()
    return Streams(claims.listeners, claims.origins, tuple(claims.pools), addresses, given)


def _addresses(
    services: Mapping[Name, Resource[Service]], options: CompileOptions, faults: list[Fault], memory: StreamMemory
) -> Mapping[Name, str]:
    if not options.streams.cluster_ips:
        return {}
    network = ipaddress.IPv4Network(options.streams.cluster_cidr)
    found = cluster_ips(services.values(), network, memory.cluster_ips)
    for name, service in services.items():
        written = service.object.spec.cluster_ip
        if not written and name in found:
            continue
        if has_cluster_ip(service.object) and (fault := _address_fault(service, written or "", found.get(name, ""))):
            faults.append(fault)
    return found


def _address_fault(service: Resource[Service], written: str, given: str) -> Fault | None:
    if given and written in ("", given):
        return None
    loc: Loc = ("spec", "clusterIP") if written else ("spec",)
    if not given:
        message = f"{service.key} gets no virtual address: all of the network are taken"
        return service.fault(Severity.ERROR, "cluster_ips_exhausted", message, "choose a larger --cluster-cidr", loc)
    message = f"clusterIP {written} is outside of --cluster-cidr, or another Service's: {given} is used"
    return service.fault(Severity.INFO, "cluster_ip_replaced", message, loc=loc)


def _given(
    services: Iterable[Resource[Service]], options: CompileOptions, faults: list[Fault], memory: StreamMemory
) -> Mapping[PortKey, int]:
    written: set[int] = {own.port for own in options.streams.own}
    asking: dict[PortKey, tuple[Resource[Service], int]] = {}
    for service in services:
        if not needs_node_ports(service.object, options.streams):
            continue
        load_balancer = service.object.spec.type == "LoadBalancer"
        for index, port in enumerate(service.object.spec.ports):
            if port.node_port:
                written.add(port.node_port)
            else:
                asking[port_key(service, port)] = (service, index)
            if load_balancer:
                written.add(port.port)
    given = node_ports(asking, written, memory.node_ports)
    for key in asking.keys() - given.keys():
        service, index = asking[key]
        message = f"port {key.port} of {service.key} gets no node port: {FIRST} to {LAST} are all taken"
        loc: Loc = ("spec", "ports", index)
        faults.append(service.fault(Severity.ERROR, "node_ports_exhausted", message, "write a nodePort", loc))
    return given


def _openings(
    service: Resource[Service],
    options: CompileOptions,
    cluster_ip: str,
    given: Mapping[PortKey, int],
    memory: StreamMemory,
) -> Openings:
    own: tuple[int, ...] = ()
    if given and needs_node_ports(service.object, options.streams):
        own = tuple(given.get(port_key(service, port), 0) for port in service.object.spec.ports)
    before = memory.opened.before(service)
    if before is None or (before.cluster_ip, before.ports) != (cluster_ip, own):
        before = _Opened(cluster_ip, own, openings(service, options, cluster_ip, given))
    return memory.opened.keep(service, before).openings


class _Claims:
    """Who has which port."""

    def __init__(self, options: CompileOptions, faults: list[Fault]) -> None:
        self.listeners: dict[str, StreamListener] = {}
        self.origins: dict[str, Origin] = {}
        self.pools: dict[PoolName, None] = {}
        self._own = options.streams.own
        self._faults = faults
        self._most = options.streams.most_cluster_listeners
        self._cluster_listeners = 0
        self._left_out: list[Resource[Service]] = []
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
                self._left_out.append(service)
                return
            self._cluster_listeners += 1
        else:
            self._by_port.setdefault((listener.protocol, listener.port), []).append(listener)
        self.listeners[key] = listener
        self.origins[key] = Origin(service, opening.loc)
        self.pools[opening.pool] = None

    def close(self) -> None:
        """That were all."""
        if self._left_out:
            first, count = self._left_out[0], len(self._left_out)
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


def _age(item: tuple[Resource[Service], Openings]) -> tuple[str, str, str]:
    service = item[0]
    return service.object.metadata.creation_timestamp or _NEVER, service.namespace, service.name
