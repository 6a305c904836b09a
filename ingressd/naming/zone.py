"""Zone: which names there are below the cluster domain, and what is at each of them.

In: a Compilation, the domain. Out: a Node for a name, or None; the names of an address. Nothing
is made before somebody asks for it: a new Zone costs nothing, however many Services there are. Pure; the names are
those of the Kubernetes DNS specification 1.1.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ingressd.compile.compilation import Compilation
from ingressd.compile.reach import Reach
from ingressd.model.resource import Resource
from ingressd.model.service import Service, ServicePort
from ingressd.naming.members import Member, members
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool

SPECIFICATION = "1.1.0"
"""Version of the specification, which `dns-version` says."""
SRV_WEIGHT = 100
"""Of all the records of one SRV name together (CoreDNS)."""
POINTERS = 16
"""Names of one address, at most: on a laptop many Services are at 127.0.0.1."""
MEMORY = 4096
"""Services whose members are remembered."""
WRITTEN = "slices"
"""The source of endpoints that nobody had to discover."""

Labels = tuple[str, ...]
"""A name below the domain, without it: `("web", "default", "svc")`."""
Name = tuple[str, str]
"""Namespace and name."""


class ServiceRecord(NamedTuple):
    """What an SRV record says."""

    port: int
    weight: int
    target: Labels
    addresses: tuple[str, ...]
    """Of the target."""


@dataclass(frozen=True, slots=True)
class Node:
    """What is at one name. One with nothing has names below it."""

    addresses: tuple[str, ...] = ()
    services: tuple[ServiceRecord, ...] = ()
    alias: str = ""
    """Another name, of the whole world."""
    text: str = ""


_BRANCH = Node()


class Zone:
    """The names of one compilation."""

    def __init__(
        self,
        compilation: Compilation,
        domain: str,
        *,
        serial: int = 1,
        server: tuple[str, ...] = (),
    ) -> None:
        """`server`: the addresses where the zone is served.

        Of a Service without a virtual address that of each endpoint is told (docs/decisions/0018).
        """
        self.domain = domain
        self.serial = serial
        self._resources = compilation.resources
        self._snapshot = compilation.snapshot
        self._cluster_ips = compilation.streams.cluster_ips
        self._listeners = compilation.streams.listeners
        self._problems = compilation.problems
        self._reach = Reach(compilation.external_name_allow)
        self.server = server
        self._members: dict[Name, tuple[Member, ...]] = {}
        self._pointers: dict[str, tuple[Labels, ...]] | None = None

    def node(self, labels: Labels) -> Node | None:
        """What is at a name in lower case; None = it does not exist."""
        match labels:
            case () | ("svc",) | ("dns",):
                return _BRANCH
            case ("dns-version",):
                return Node(text=SPECIFICATION)
            case ("ns", "dns"):
                return Node(addresses=self.server)
            case (namespace, "svc"):
                return _BRANCH if namespace in self._namespaces else None
            case (*below, name, namespace, "svc"):
                service = self._resources.services.get((namespace, name))
                return None if service is None else self._of_service(service, tuple(below))
            case _:
                return None

    @property
    def reversed(self) -> bool:
        """Whether `pointers` can be asked without waiting for all Services to be read."""
        return self._pointers is not None

    def reverse(self) -> None:
        """Look up the addresses of all Services: with 50,000 that is work for a thread."""
        found: dict[str, list[Labels]] = {}
        for (namespace, name), service in sorted(self._resources.services.items()):
            for address, label in self._addresses(service):
                names = found.setdefault(address, [])
                if len(names) < POINTERS:
                    names.append((*label, name, namespace, "svc"))
        self._pointers = {address: tuple(names) for address, names in found.items()}

    def pointers(self, address: str) -> tuple[Labels, ...]:
        """The names of an address, after `reverse`."""
        return (self._pointers or {}).get(address, ())

    def _addresses(self, service: Resource[Service]) -> Iterator[tuple[str, Labels]]:
        cluster_ip = self._cluster_ip(service)
        if cluster_ip:
            yield cluster_ip, ()
        elif service.object.spec.type != "ExternalName":
            # Not remembered: they are asked for once.
            for member in self._read(service):
                yield member.address, (member.label,)

    def _of_service(self, service: Resource[Service], below: Labels) -> Node | None:
        spec = service.object.spec
        if spec.type == "ExternalName":
            return None if below else Node(alias=spec.external_name.removesuffix("."))
        cluster_ip = self._cluster_ip(service)
        match below:
            case ():
                every = (each.address for each in self._of(service))
                return Node(addresses=(cluster_ip,) if cluster_ip else tuple(every))
            case (port, protocol) if port.startswith("_") and protocol.startswith("_"):
                return self._of_port(service, port[1:], protocol[1:], cluster_ip)
            case (protocol,) if protocol.startswith("_"):
                known = any(each.name and each.protocol.lower() == protocol[1:] for each in spec.ports)
                return _BRANCH if known else None
            case (label,):
                addresses = tuple(each.address for each in self._of(service) if each.label == label)
                return Node(addresses=addresses) if addresses else None
            case _:
                return None

    def _of_port(self, service: Resource[Service], port: str, protocol: str, cluster_ip: str) -> Node | None:
        for each in service.object.spec.ports:
            if each.name == port and each.protocol.lower() == protocol:
                return Node(services=tuple(self._services(service, each, cluster_ip)))
        return None

    def _services(self, service: Resource[Service], port: ServicePort, cluster_ip: str) -> Iterator[ServiceRecord]:
        own = (service.name, service.namespace, "svc")
        if cluster_ip:
            yield ServiceRecord(port.port, SRV_WEIGHT, own, (cluster_ip,))
            return
        targets: dict[tuple[int, str], list[str]] = {}
        for member in self._of(service):
            for name, protocol, number in member.ports:
                if name == port.name and protocol == port.protocol.lower():
                    targets.setdefault((number, member.label), []).append(member.address)
        for (number, label), addresses in targets.items():
            yield ServiceRecord(number, max(1, SRV_WEIGHT // len(targets)), (label, *own), tuple(addresses))

    def _cluster_ip(self, service: Resource[Service]) -> str:
        """Its virtual address, if something listens there."""
        address = self._cluster_ips.get((service.namespace, service.name), "")
        if address and self._problems:
            keys = (f"{each.protocol.lower()}://{address}:{each.port}" for each in service.object.spec.ports)
            if not any(key in self._listeners and key not in self._problems for key in keys):
                return ""
        return address

    def _of(self, service: Resource[Service]) -> tuple[Member, ...]:
        name = (service.namespace, service.name)
        known = self._members.get(name)
        if known is None:
            if len(self._members) >= MEMORY:
                self._members.clear()
            known = self._members[name] = self._read(service)
        return known

    def _read(self, service: Resource[Service]) -> tuple[Member, ...]:
        name = (service.namespace, service.name)
        resources = self._resources
        slices, endpoints = resources.slices.get(name, ()), resources.endpoints.get(name)
        found = members(service.object, slices, endpoints, self._found(service))
        return tuple(each for each in found if not self._reach.refusal(each.address))

    def _found(self, service: Resource[Service]) -> Iterator[tuple[ServicePort, Endpoint]]:
        """What discovery has found for a pool of some port, if anybody asked."""
        for port in service.object.spec.ports:
            for pool in self._pools.get((service.namespace, service.name), ()):
                if pool.port in (str(port.port), port.name):
                    yield from ((port, each) for each in pool.endpoints if each.source != WRITTEN)

    @cached_property
    def _pools(self) -> dict[Name, list[Pool]]:
        found: dict[Name, list[Pool]] = {}
        for pool in self._snapshot.pools.values():
            found.setdefault((pool.namespace, pool.service), []).append(pool)
        return found

    @cached_property
    def _namespaces(self) -> frozenset[str]:
        return frozenset(namespace for namespace, _ in self._resources.services)
