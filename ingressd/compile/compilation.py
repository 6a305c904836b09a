"""Compilation: what compile makes of the resources, and what people are shown of it.

The snapshot is for the data plane. Routes and services are rows for the API and the command line, made when somebody
asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingressd.discovery.base import Query
from ingressd.errors import Fault
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.service import Service
from ingressd.table.pool import Pool
from ingressd.table.route import ANY_HOST, Route
from ingressd.table.snapshot import Snapshot


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
        names = sorted(self.resources.services.keys() | pools.keys())
        return tuple(
            ServiceRow(*name, self.resources.services.get(name), tuple(pools.get(name, ())), self.asked)
            for name in names
        )


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route as people are shown it."""

    route: Route
    tls: bool
    pool: Pool | None

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
                        "node_port": port.node_port,
                    }
                    for port in spec.ports
                ],
                "file": resource.file,
                "line": resource.origin.line,
            }
        row["pools"] = [self._pool(pool) for pool in self.pools]
        return row

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
    def row(route: Route, tls: bool) -> RouteRow:
        return RouteRow(route, tls, snapshot.pools.get(route.pool))

    for name in sorted(snapshot.hosts, key=lambda name: (name == ANY_HOST, name.startswith("*"), name)):
        host = snapshot.hosts[name]
        for route in host.routes:
            yield row(route, host.tls)
        if host.default is not None:
            yield row(host.default, host.tls)
    if snapshot.default is not None:
        yield row(snapshot.default, False)
