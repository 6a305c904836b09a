"""Service (v1): fields, and the rules of its API validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from ingressd.model import names
from ingressd.model.metadata import Metadata
from ingressd.model.shape import Items, Loc, Mistake, Shape, invalid, required, shown, unsupported

TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
PROTOCOLS = ("TCP", "UDP", "SCTP")
AFFINITIES = ("None", "ClientIP")
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
AFFINITY_LIMIT_S = 86_400
POLICIES = ("Cluster", "Local")
HEADLESS = "None"


class ServicePort(Shape):
    """One port of a Service."""

    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    port: int
    target_port: int | str | None = None
    node_port: int | None = None

    def mistakes(self, loc: Loc) -> Iterator[Mistake]:
        """Rules of validateServicePort."""
        if self.name and (rule := names.label(self.name)):
            yield invalid((*loc, "name"), self.name, rule)
        if not 1 <= self.port <= 65535:
            yield invalid((*loc, "port"), self.port, "from 1 to 65535")
        if self.protocol not in PROTOCOLS:
            yield unsupported((*loc, "protocol"), self.protocol, PROTOCOLS)
        target = self.target_port
        if isinstance(target, int) and not 1 <= target <= 65535:
            yield invalid((*loc, "targetPort"), target, "from 1 to 65535, or the name of a container port")
        elif isinstance(target, str) and (rule := names.port_name(target)):
            hint = f"write it without quotes: targetPort: {target}" if target.isascii() and target.isdigit() else ""
            yield invalid((*loc, "targetPort"), target, rule, hint)
        if self.node_port is not None and not 0 <= self.node_port <= 65535:
            yield invalid((*loc, "nodePort"), self.node_port, "from 1 to 65535")


class ClientIp(Shape):
    """How long a client stays with its endpoint."""

    timeout_seconds: int = 10_800


class AffinityConfig(Shape):
    """sessionAffinityConfig."""

    client_ip: ClientIp | None = Field(default=None, alias="clientIP")


class ServiceSpec(Shape):
    """See the fields."""

    type: str = "ClusterIP"
    ports: Items[ServicePort] = ()
    selector: Any = None
    cluster_ip: str | None = Field(default=None, alias="clusterIP")
    cluster_ips: Any = Field(default=None, alias="clusterIPs")
    external_ips: Items[str] = Field(default=(), alias="externalIPs")
    external_name: str = ""
    session_affinity: str = "None"
    session_affinity_config: AffinityConfig | None = None
    publish_not_ready_addresses: bool = False
    traffic_distribution: str | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str | None = None
    load_balancer_ip: Any = Field(default=None, alias="loadBalancerIP")
    load_balancer_source_ranges: Items[str] = ()
    load_balancer_class: Any = None
    health_check_node_port: Any = None
    ip_families: Any = None
    ip_family_policy: Any = None
    allocate_load_balancer_node_ports: Any = None


class Service(Shape):
    """v1 Service."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()
    status: Any = None

    @property
    def headless(self) -> bool:
        """It has no virtual address."""
        return self.spec.cluster_ip == HEADLESS

    @property
    def affinity_s(self) -> int:
        """How long a client that is away keeps its endpoint; 0 = it has none of its own."""
        if self.spec.session_affinity == "None":
            return 0
        config = self.spec.session_affinity_config
        return ((config and config.client_ip) or ClientIp()).timeout_seconds

    def mistakes(self) -> Iterator[Mistake]:
        """Rules of ValidateService (kubernetes pkg/apis/core/validation), as far as they concern fields we read."""
        yield from self.metadata.mistakes(service=True)
        spec = self.spec
        if spec.type not in TYPES:
            yield unsupported(("spec", "type"), spec.type, TYPES)
        if spec.type == "ExternalName":
            yield from self._external_name_mistakes()
        elif not spec.ports and not self.headless:
            yield required(("spec", "ports"), "needs at least one port")
        if spec.session_affinity not in AFFINITIES:
            yield unsupported(("spec", "sessionAffinity"), spec.session_affinity, AFFINITIES)
        if spec.traffic_distribution is not None and spec.traffic_distribution not in DISTRIBUTIONS:
            yield unsupported(("spec", "trafficDistribution"), spec.traffic_distribution, DISTRIBUTIONS)
        if spec.cluster_ip not in (None, "", HEADLESS) and not names.is_address(spec.cluster_ip):
            hint = f"did you mean {HEADLESS}?" if spec.cluster_ip.lower() == HEADLESS.lower() else ""
            yield invalid(("spec", "clusterIP"), spec.cluster_ip, f"an IP address, or {HEADLESS}", hint)
        policies = (
            ("internalTrafficPolicy", spec.internal_traffic_policy),
            ("externalTrafficPolicy", spec.external_traffic_policy),
        )
        for field, policy in policies:
            if policy and policy not in POLICIES:
                yield unsupported(("spec", field), policy, POLICIES)
        config = spec.session_affinity_config
        if config is not None and config.client_ip is not None:
            seconds = config.client_ip.timeout_seconds
            if not 1 <= seconds <= AFFINITY_LIMIT_S:
                loc: Loc = ("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
                yield invalid(loc, seconds, f"from 1 to {AFFINITY_LIMIT_S}")
        yield from self._port_mistakes()

    def _external_name_mistakes(self) -> Iterator[Mistake]:
        loc: Loc = ("spec", "externalName")
        name = self.spec.external_name
        if not name:
            yield required(loc, hint="write the DNS name, such as `externalName: api.example.com`")
        elif names.is_address(name):
            yield invalid(loc, name, "a DNS name, not an IP address", "list addresses in an EndpointSlice")
        elif rule := names.subdomain(name.removesuffix(".")):
            yield invalid(loc, name, rule)

    def _port_mistakes(self) -> Iterator[Mistake]:
        ports = self.spec.ports
        seen_names: set[str] = set()
        seen_ports: set[tuple[int, str]] = set()
        for index, port in enumerate(ports):
            loc: Loc = ("spec", "ports", index)
            yield from port.mistakes(loc)
            if not port.name and len(ports) > 1:
                yield required((*loc, "name"), "is required when a Service has several ports")
            if port.name and port.name in seen_names:
                yield Mistake((*loc, "name"), "field_invalid", f"{shown((*loc, 'name'))}: {port.name} is taken already")
            if (port.port, port.protocol) in seen_ports:
                yield Mistake((*loc, "port"), "field_invalid", f"{shown((*loc, 'port'))}: {port.port} is taken already")
            seen_names.add(port.name)
            seen_ports.add((port.port, port.protocol))
