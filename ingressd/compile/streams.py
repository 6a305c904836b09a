"""Streams: the layer-4 listeners of all Services, each port opened once however many want it.

In: Services, what the operator decided. Out: StreamListeners by key, where each is written, the pools that they need,
and faults where two want the same port. The program's own ports win, then the older Service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from ingressd.compile.claims import Claims, Name, Origin
from ingressd.compile.cluster_ips import cluster_ips, has_cluster_ip, one_more
from ingressd.compile.made import PoolName
from ingressd.compile.node_ports import FIRST, LAST, PortKey, node_ports
from ingressd.compile.options import CompileOptions, StreamOptions
from ingressd.compile.service_ports import Openings, needs_node_ports, openings, port_key
from ingressd.errors import Fault, Severity
from ingressd.model.resource import Resource
from ingressd.model.service import Service
from ingressd.model.shape import Loc
from ingressd.table.snapshot import edited, same_keys
from ingressd.table.stream import StreamListener

_NEVER = "~"
"""What has no creationTimestamp comes after what has one."""
_FEW = 100
"""So many Services, or one of so many, are no small edit any more: then a look at all of them costs less."""


@dataclass(frozen=True, slots=True)
class Streams:
    """What all Services open."""

    listeners: Mapping[str, StreamListener] = field(default_factory=dict)
    """By StreamListener.key."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """By the same key."""
    pools: tuple[PoolName, ...] = ()
    cluster_ips: Mapping[Name, str] = field(default_factory=dict)
    """Namespace and name -> the virtual address where it has a listener; empty unless they are switched on."""
    node_ports: Mapping[PortKey, int] = field(default_factory=dict)
    """Those that were given, not those that are written."""


class _Opened(NamedTuple):
    """What a Service was found to want, and of what."""

    service: Resource[Service]
    cluster_ip: str
    ports: tuple[int, ...]
    openings: Openings


@dataclass(frozen=True, slots=True)
class _Whole:
    """A run, and what it was of."""

    services: Mapping[Name, Resource[Service]]
    streams: Streams
    claims: Claims
    faults: Mapping[Name, tuple[Fault, ...]]
    """Of single Services, that have to do with no other."""
    further: tuple[Fault, ...]
    """Those that have."""
    settled: bool
    """Each Service has the virtual address that it asks for, if there is one."""


class StreamMemory:
    """What the last run made, of the same options. Addresses and node ports live on when the options change."""

    def __init__(self, before: StreamMemory | None) -> None:
        self.opened: dict[Name, _Opened] = {}
        self.whole: _Whole | None = None
        self.cluster_ips: Mapping[Name, str] = {} if before is None else before.cluster_ips
        self.node_ports: Mapping[PortKey, int] = {} if before is None else before.node_ports


def compile_streams(
    services: Mapping[Name, Resource[Service]], options: CompileOptions, faults: list[Fault], memory: StreamMemory
) -> Streams:
    """One run. An edit of few Services costs little, unless it is about ports or addresses that several want."""
    # A run that fails half-way leaves nothing behind.
    whole, memory.whole = memory.whole, None
    if whole is None:
        whole = _compiled(services, options, memory)
    elif whole.services is not services:
        whole = _Edit(whole, services, options, memory).taken_in() or _compiled(services, options, memory)
    memory.whole = whole
    faults += chain.from_iterable(whole.faults.values())
    faults += whole.further
    return whole.streams


def _compiled(services: Mapping[Name, Resource[Service]], options: CompileOptions, memory: StreamMemory) -> _Whole:
    single: dict[Name, tuple[Fault, ...]] = {}
    further: list[Fault] = []
    addresses = memory.cluster_ips = _addresses(services, options, single, further, memory)
    settled = not further
    given = memory.node_ports = _given(services.values(), options, further, memory)
    wanting: list[tuple[Resource[Service], Openings]] = []
    opened: dict[Name, _Opened] = {}
    for name, service in services.items():
        openings_ = (opened.setdefault(name, _opened(service, options, addresses.get(name, ""), memory))).openings
        if openings_.faults:
            single[name] = (*single.get(name, ()), *openings_.faults)
        if openings_.wanted:
            wanting.append((service, openings_))
    memory.opened = opened
    claims = Claims(options, further)
    for service, openings_ in sorted(wanting, key=_age):
        for opening in openings_.wanted:
            claims.add(service, opening)
    claims.close()
    streams = _streams(claims, tuple(claims.pools), addresses, given)
    return _Whole(services, streams, claims, single, tuple(further), settled)


def _streams(
    claims: Claims, pools: tuple[PoolName, ...], addresses: Mapping[Name, str], given: Mapping[PortKey, int]
) -> Streams:
    if len(claims.addressed) < len(addresses):
        addresses = {name: address for name, address in addresses.items() if name in claims.addressed}
    return Streams(claims.listeners, claims.origins, pools, addresses, given)


class _Edit:
    """Some Services are others than before."""

    def __init__(
        self, whole: _Whole, services: Mapping[Name, Resource[Service]], options: CompileOptions, memory: StreamMemory
    ) -> None:
        before = whole.services
        self._whole, self._services, self._options, self._memory = whole, services, options, memory
        self._edited = edited(before, services)
        self._names = [*self._edited, *(() if same_keys(before, services) else before.keys() - services.keys())]

    def taken_in(self) -> _Whole | None:
        """The run with the edit; None = it is about more than the Services that were edited."""
        memory, claims = self._memory, self._whole.claims
        if len(self._names) > max(_FEW, len(self._services) // _FEW) or self._moves_node_ports():
            return None
        addresses = self._addresses()
        if addresses is None:
            return None
        before = {name: memory.opened[name] for name in self._names if name in memory.opened}
        now = {
            name: _opened(self._services[name], self._options, addresses.get(name, ""), memory) for name in self._edited
        }
        stays = all(_keys(before.get(name)) == _keys(now.get(name)) for name in self._names)
        if not self._concerns_nobody_else(before, now, stays=stays):
            return None
        pools = self._whole.streams.pools
        claims.edit(ports=not stays)
        for name in self._names:
            if not stays and name in before:
                claims.drop(name, before[name].openings.wanted)
        for each in now.values():
            for opening in each.openings.wanted:
                if stays:
                    claims.move(each.service, opening)
                else:
                    claims.add(each.service, opening)
        if not stays:
            if claims.contested or claims.left_out:
                return None
            pools = tuple(claims.pools)
        self._remember(addresses, now)
        streams = _streams(claims, pools, addresses, memory.node_ports)
        faults = self._faults(addresses, now)
        return replace(self._whole, services=self._services, streams=streams, faults=faults)

    def _moves_node_ports(self) -> bool:
        """Whether other Services may get other ones."""
        before, now, streams = self._whole.services, self._services, self._options.streams
        return any(_asked(before.get(name), streams) != _asked(now.get(name), streams) for name in self._names)

    def _concerns_nobody_else(
        self, before: Mapping[Name, _Opened], now: Mapping[Name, _Opened], *, stays: bool
    ) -> bool:
        claims = self._whole.claims
        if claims.contested:
            return not any(each.openings.wanted for each in (*before.values(), *now.values()))
        return not claims.left_out or (stays and claims.left_out[0].key[1:] not in before)

    def _addresses(self) -> Mapping[Name, str] | None:
        """All of them; None = others may get theirs, or lose it."""
        addresses = self._memory.cluster_ips
        if not self._options.streams.cluster_ips:
            return addresses
        came: list[Name] = []
        went: list[Name] = []
        for name in self._names:
            wanted, had = _asked_address(self._services.get(name)), _asked_address(self._whole.services.get(name))
            if wanted == had:
                continue
            if wanted or had or not self._whole.settled:
                return None
            (went if wanted is None else came).append(name)
        if not came and not went:
            return addresses
        found = {**addresses}
        for name in went:
            del found[name]
        network, taken = ipaddress.IPv4Network(self._options.streams.cluster_cidr), set(found.values())
        for name in sorted(came):
            address = one_more(name, network, taken)
            if address is None:
                return None
            found[name] = address
            taken.add(address)
        return found

    def _faults(self, addresses: Mapping[Name, str], now: Mapping[Name, _Opened]) -> Mapping[Name, tuple[Fault, ...]]:
        faults = {**self._whole.faults}
        for name in self._names:
            faults.pop(name, None)
        for name, each in now.items():
            address = addresses.get(name)
            replaced = address is not None and each.service.object.spec.cluster_ip not in (None, "", address)
            told = (_address_fault(each.service, address or "", {}),) if replaced else ()
            if told or each.openings.faults:
                faults[name] = (*told, *each.openings.faults)
        return faults

    def _remember(self, addresses: Mapping[Name, str], now: Mapping[Name, _Opened]) -> None:
        memory = self._memory
        memory.cluster_ips = addresses
        for name in self._names:
            memory.opened.pop(name, None)
        memory.opened.update(now)


def _keys(opened: _Opened | None) -> list[tuple[StreamListener, PoolName]]:
    return [] if opened is None else [(opening.listener, opening.pool) for opening in opened.openings.wanted]


def _asked(service: Resource[Service] | None, options: StreamOptions) -> tuple[object, ...] | None:
    """What its node ports depend on; None = it has none."""
    if service is None or not needs_node_ports(service.object, options):
        return None
    spec = service.object.spec
    return spec.type, *((port.port, port.node_port, port.protocol) for port in spec.ports)


def _asked_address(service: Resource[Service] | None) -> str | None:
    """The virtual address that it writes; empty = any will do, None = it has none."""
    if service is None or not has_cluster_ip(service.object):
        return None
    return service.object.spec.cluster_ip or ""


def _addresses(
    services: Mapping[Name, Resource[Service]],
    options: CompileOptions,
    single: dict[Name, tuple[Fault, ...]],
    further: list[Fault],
    memory: StreamMemory,
) -> Mapping[Name, str]:
    if not options.streams.cluster_ips:
        return {}
    network = ipaddress.IPv4Network(options.streams.cluster_cidr)
    found = cluster_ips(services.values(), network, memory.cluster_ips)
    odd: list[Name] = []
    for name, service in services.items():
        written, given = service.object.spec.cluster_ip, found.get(name)
        if (given is None or (written and written != given)) and has_cluster_ip(service.object):
            odd.append(name)
    holders = {address: services[name] for name, address in found.items()} if odd else {}
    for name in odd:
        fault = _address_fault(services[name], found.get(name, ""), holders)
        if fault.severity == Severity.INFO:
            single[name] = (fault,)
        else:
            further.append(fault)
    return found


def _address_fault(service: Resource[Service], given: str, holders: Mapping[str, Resource[Service]]) -> Fault:
    written = service.object.spec.cluster_ip or ""
    loc: Loc = ("spec", "clusterIP") if written else ("spec",)
    if not given:
        message = f"{service.key} gets no virtual address: all of the network are taken"
        return service.fault(Severity.ERROR, "cluster_ips_exhausted", message, "choose a larger --cluster-cidr", loc)
    holder = holders.get(written)
    if holder is None:
        message = f"clusterIP {written} is none of the addresses of --cluster-cidr: {given} is used"
        return service.fault(Severity.INFO, "cluster_ip_replaced", message, loc=loc)
    message = f"clusterIP {written} is that of {holder.key} ({holder.place(*loc)}): {given} is used"
    return service.fault(Severity.WARNING, "cluster_ip_replaced", message, "write another one, or none", loc)


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


def _opened(service: Resource[Service], options: CompileOptions, cluster_ip: str, memory: StreamMemory) -> _Opened:
    given = memory.node_ports
    own: tuple[int, ...] = ()
    if given and needs_node_ports(service.object, options.streams):
        own = tuple(given.get(port_key(service, port), 0) for port in service.object.spec.ports)
    before = memory.opened.get((service.namespace, service.name))
    if before is not None and before.service is service and (before.cluster_ip, before.ports) == (cluster_ip, own):
        return before
    return _Opened(service, cluster_ip, own, openings(service, options, cluster_ip, given))


def _age(item: tuple[Resource[Service], Openings]) -> tuple[str, str, str]:
    service = item[0]
    return service.object.metadata.creation_timestamp or _NEVER, service.namespace, service.name
