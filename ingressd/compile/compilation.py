"""Compilation: what compile makes of the resources, and what people are shown of it.

The snapshot is for the data plane. Routes and services are rows for the API and the command line, made when somebody
asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ingressd.compile.node_ports import PortKey
from ingressd.compile.port_faults import PortProblem, port_fault
from ingressd.compile.streams import Streams
from ingressd.discovery.base import Query
from ingressd.errors import Fault
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.service import Service, ServicePort
from ingressd.table.pool import Pool
from ingressd.table.route import ANY_HOST, Route
from ingressd.table.snapshot import Snapshot
from ingressd.table.stream import StreamListener


@dataclass(frozen=True, slots=True)
class Compilation:
    """One run of the compiler."""

    snapshot: Snapshot
    """Its generation is the caller's to set."""
    faults: tuple[Fault, ...]
    """Of the sources and of the compiler, by file, line and column."""
    queries: frozenset[Query]
    """What discovery has to find out."""
    resources: ResourceSet = field(default_factory=ResourceSet)
    asked: Mapping[str, tuple[Query, ...]] = field(default_factory=dict)
    """Pool id -> the questions whose answers are its endpoints."""
    streams: Streams = field(default_factory=Streams)
    problems: Mapping[str, PortProblem] = field(default_factory=dict)
    """Listeners that could not be opened, by key."""

    def with_problems(self, problems: Mapping[str, PortProblem]) -> Compilation:
        """The same, with a fault for each listener that could not be opened."""
        origins = self.streams.origins
        found = [
            port_fault(self.streams.listeners[key], origins[key].service, origins[key].loc, problem)
            for key, problem in problems.items()
            if key in origins
        ]
        if not found:
            return self
        return replace(self, faults=tuple(sorted((*self.faults, *found), key=Fault.place)), problems=problems)

    @property
    def routes(self) -> tuple[RouteRow, ...]:
        """All routes: exact hosts by name, then wildcards, then all hosts; of a host in their order of precedence."""
        return tuple(_rows(self.snapshot))

    @property
    def services(self) -> tuple[ServiceRow, ...]:
        """All Services by namespace and name, with the pools that routes have made of their ports."""
        pools: dict[tuple[str, str], list[Pool]] = {}
        for pool in self.snapshot.pools.values():
            pools.setdefault((pool.namespace, pool.service), []).append(pool)
        listeners: dict[tuple[str, str], list[StreamListener]] = {}
        for listener in self.streams.listeners.values():
            listeners.setdefault((listener.namespace, listener.service), []).append(listener)
        names = sorted(self.resources.services.keys() | pools.keys())
        return tuple(
            ServiceRow(
                *name,
                self.resources.services.get(name),
                tuple(pools.get(name, ())),
                self.asked,
                self.streams,
                tuple(listeners.get(name, ())),
                self.problems,
            )
            for name in names
        )


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route as people are shown it."""

    route: Route
    tls: bool
    pool: Pool | None
    condition: str = ""
    """Which requests of its host and path it takes; empty = those that nobody else takes."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of /api/v1/routes."""
        route, pool = self.route, self.pool
        return {
            "id": route.id,
            "host": route.host or "*",
            "path": route.path,
            "path_type": route.path_type,
            "namespace": route.namespace,
            "ingress": route.ingress,
            "service": route.service,
            "port": route.port,
            "tls": self.tls,
            "endpoints": [] if pool is None else [endpoint.key for endpoint in pool.endpoints],
            "problem": route.denied or ("" if pool is None else pool.problem),
            "filters": [str(each) for each in route.filters],
            "denied": bool(route.denied),
            "condition": self.condition,
            "file": route.file,
            "line": route.line,
        }


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One Service as people are shown it; `resource` is None when routes name one that does not exist."""

    namespace: str
    name: str
    resource: Resource[Service] | None
    pools: tuple[Pool, ...]
    asked: Mapping[str, tuple[Query, ...]]
    streams: Streams = field(default_factory=Streams)
    """Of all Services."""
    listeners: tuple[StreamListener, ...] = ()
    """Of this one."""
    problems: Mapping[str, PortProblem] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of /api/v1/services."""
        resource = self.resource
        row: dict[str, Any] = {"namespace": self.namespace, "name": self.name, "exists": resource is not None}
        if resource is not None:
            spec = resource.object.spec
            row |= {
                "type": spec.type,
                "headless": resource.object.headless,
                "external_name": spec.external_name or None,
                "ports": [
                    {
                        "name": port.name,
                        "port": port.port,
                        "target_port": port.port if port.target_port is None else port.target_port,
                        "protocol": port.protocol,
                        "app_protocol": port.app_protocol,
                        "node_port": self._node_port(port) or None,
                    }
                    for port in spec.ports
                ],
                "cluster_ip": self.streams.cluster_ips.get((self.namespace, self.name)),
                "node_ports": [number for port in spec.ports if (number := self._node_port(port))],
                "file": resource.file,
                "line": resource.origin.line,
            }
        row["listeners"] = [
            {
                "protocol": each.protocol,
                "address": each.address,
                "port": each.port,
                "role": each.role,
                "bound": each.key not in self.problems,
            }
            for each in self.listeners
        ]
        row["pools"] = [self._pool(pool) for pool in self.pools]
        return row

    def _node_port(self, port: ServicePort) -> int:
        """Written or given; 0 = none."""
        key = PortKey(self.namespace, self.name, port.port, port.protocol)
        return port.node_port or self.streams.node_ports.get(key, 0)

    def _pool(self, pool: Pool) -> dict[str, Any]:
        queries = self.asked.get(pool.id, ())
        return {
            "id": pool.id,
            "port": pool.port,
            "scheduler": pool.scheduler,
            "affinity_s": pool.affinity_s,
            "tls": pool.tls,
            "discovery": queries[0].provider if queries else "slices",
            "targets": [query.target for query in queries],
            "problem": pool.problem,
            "endpoints": [
                {
                    "endpoint": endpoint.key,
                    "address": endpoint.address,
                    "port": endpoint.port,
                    "weight": endpoint.weight,
                    "zone": endpoint.zone,
                    "terminating": endpoint.terminating,
                    "source": endpoint.source,
                }
                for endpoint in pool.endpoints
            ],
        }


def _rows(snapshot: Snapshot) -> Iterator[RouteRow]:
    def row(route: Route, tls: bool, condition: str = "") -> RouteRow:
        return RouteRow(route, tls, snapshot.pools.get(route.pool), condition)

    for name in sorted(snapshot.hosts, key=lambda name: (name == ANY_HOST, name.startswith("*"), name)):
        host = snapshot.hosts[name]
        for route in host.routes:
            for each in route.each():
                words = (str(other.condition) for other in route.alternatives if other.route is each)
                yield row(each, host.tls, " or ".join(words))
        if host.default is not None:
            yield row(host.default, host.tls)
    if snapshot.default is not None:
        yield row(snapshot.default, False)
