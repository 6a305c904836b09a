"""Compilation: what compile makes of the resources, and what people are shown of it.

The snapshot is for the data plane. Routes and services are rows for the API and the command line, made when somebody
asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ingressd.compile.port_faults import PortProblem, port_fault
from ingressd.compile.service_row import ServiceRow
from ingressd.compile.streams import Streams
from ingressd.discovery.base import Query
from ingressd.errors import Fault
from ingressd.model.resource_set import ResourceSet
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
    domain: str = "cluster.local"
    """What the names of Services end with."""
    external_name_allow: tuple[str, ...] = ()
    """What the operator allows to be reached that is refused otherwise."""

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
                self.domain,
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
