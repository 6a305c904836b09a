"""ServiceRow: one Service as people are shown it, made when somebody asks.

In: the Service, what the compiler made of it. Out: the JSON shape of /api/v1/services, without what only a running
program knows: docs/api.md describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingressd.compile.node_ports import PortKey
from ingressd.compile.port_faults import PortProblem
from ingressd.compile.streams import Streams
from ingressd.discovery.base import Query
from ingressd.model.resource import Resource
from ingressd.model.service import Service, ServicePort
from ingressd.table.breaker import BreakerLimits
from ingressd.table.endpoint import Endpoint
from ingressd.table.health import HealthCheck, OutlierDetection
from ingressd.table.pool import Pool
from ingressd.table.stream import StreamListener

_MODES = {"random": ("iptables", "nftables"), "p2c": (), "ewma": ()}
"""kube-proxy's modes that pick as a scheduler does, where it is not ipvs."""
_IPVS = ("ipvs",)
_ANY_MODE = ("iptables", "nftables", "ipvs")
"""All of them have sessionAffinity."""


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """`resource` is None when routes name a Service that does not exist."""

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
    domain: str = "cluster.local"
    """What the names of Services end with."""

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
                "dns_name": f"{self.name}.{self.namespace}.svc.{self.domain}",
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
                "external_ips": list(spec.external_ips),
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
                "pool": each.pool,
                "sources": list(each.sources),
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
            "proxy_modes": list(_ANY_MODE if pool.affinity_s else _MODES.get(pool.scheduler, _IPVS)),
            "affinity_s": pool.affinity_s,
            "tls": pool.tls is not None,
            "health_check": _check(pool.check),
            "panic_percent": pool.panic_percent,
            "outlier_detection": _detection(pool.outliers),
            "slow_start_s": pool.slow_start_s,
            "breaker": _limits(pool.breaker),
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
                    "healthy": endpoint.healthy,
                    "state": _state(endpoint),
                    "source": endpoint.source,
                }
                for endpoint in pool.endpoints
            ],
        }


def _state(endpoint: Endpoint) -> str:
    if not endpoint.healthy:
        return "unhealthy"
    return "terminating" if endpoint.terminating else "ready"


def _check(check: HealthCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "check": str(check),
        "port": check.port or None,
        "interval_s": check.interval_s,
        "timeout_s": check.timeout_s,
        "fall": check.fall,
        "rise": check.rise,
    }


def _detection(detection: OutlierDetection | None) -> dict[str, Any] | None:
    if detection is None:
        return None
    return {
        "consecutive_failures": detection.consecutive_failures,
        "consecutive_gateway_failures": detection.consecutive_gateway_failures,
        "consecutive_5xx": detection.consecutive_5xx,
        "success_rate": detection.success_rate,
        "base_ejection_s": detection.base_ejection_s,
        "max_ejection_s": detection.max_ejection_s,
        "max_ejection_percent": detection.max_ejection_percent,
    }


def _limits(limits: BreakerLimits | None) -> dict[str, Any] | None:
    if limits is None:
        return None
    return {"requests": limits.requests, "pending": limits.pending, "pending_s": limits.pending_s}
