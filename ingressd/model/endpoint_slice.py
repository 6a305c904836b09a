"""EndpointSlice (discovery.k8s.io/v1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from ingressd.model import names
from ingressd.model.metadata import Metadata
from ingressd.model.service import PROTOCOLS
from ingressd.model.shape import Items, Loc, Mistake, Shape, invalid, required, unsupported

SERVICE_LABEL = "kubernetes.io/service-name"
ADDRESS_TYPES = ("IPv4", "IPv6", "FQDN")
ENDPOINTS = 1000
ADDRESSES = 100
PORTS = 100


class Conditions(Shape):
    """Unset: ready and serving, not terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Shape):
    """A zone whose clients an endpoint is meant for."""

    name: str = ""


class Hints(Shape):
    """Who an endpoint is meant for. Nodes are not known here."""

    for_zones: Items[ForZone] = ()
    for_nodes: Any = None


class SliceEndpoint(Shape):
    """One endpoint: its first address counts, the others are ignored."""

    addresses: Items[str] = ()
    conditions: Conditions = Conditions()
    hostname: str | None = None
    target_ref: Any = None
    node_name: str | None = None
    zone: str | None = None
    hints: Hints | None = None
    deprecated_topology: Any = None


class SlicePort(Shape):
    """A port that holds for all endpoints of the slice. No `port`: not restricted."""

    name: str = ""
    protocol: str = "TCP"
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(Shape):
    """discovery.k8s.io/v1 EndpointSlice."""

    api_version: str
    kind: str
    metadata: Metadata
    address_type: str = ""
    endpoints: Items[SliceEndpoint] = ()
    ports: Items[SlicePort] = ()

    @property
    def service(self) -> str:
        """The Service that the endpoints belong to; empty when the label is missing."""
        return self.metadata.labels.get(SERVICE_LABEL, "")

    def mistakes(self) -> Iterator[Mistake]:
        """Rules of ValidateEndpointSlice. Loopback addresses are allowed: people proxy to their own machine."""
        yield from self.metadata.mistakes()
        if not self.address_type:
            yield required(("addressType",), hint="write `addressType: IPv4`")
        elif self.address_type not in ADDRESS_TYPES:
            yield unsupported(("addressType",), self.address_type, ADDRESS_TYPES)
            return
        if len(self.endpoints) > ENDPOINTS:
            yield invalid(("endpoints",), len(self.endpoints), f"at most {ENDPOINTS} endpoints")
        if len(self.ports) > PORTS:
            yield invalid(("ports",), len(self.ports), f"at most {PORTS} ports")
        for index, endpoint in enumerate(self.endpoints):
            yield from self._endpoint_mistakes(endpoint, ("endpoints", index, "addresses"))
            if endpoint.hostname and (rule := names.label(endpoint.hostname)):
                yield invalid(("endpoints", index, "hostname"), endpoint.hostname, rule)
        seen: set[str] = set()
        for index, port in enumerate(self.ports):
            loc: Loc = ("ports", index)
            yield from _port_mistakes(port.name, port.port, port.protocol, loc)
            if port.name in seen:
                yield invalid((*loc, "name"), port.name, "different from the names of the other ports")
            seen.add(port.name)

    def _endpoint_mistakes(self, endpoint: SliceEndpoint, loc: Loc) -> Iterator[Mistake]:
        if not endpoint.addresses:
            yield required(loc, "needs at least one address")
        if len(endpoint.addresses) > ADDRESSES:
            yield invalid(loc, len(endpoint.addresses), f"at most {ADDRESSES} addresses")
        for index, address in enumerate(endpoint.addresses):
            if rule := _address_rule(self.address_type, address):
                yield invalid((*loc, index), address, rule)


def _address_rule(address_type: str, address: str) -> str:
    if address_type == "FQDN":
        return names.subdomain(address.removesuffix("."))
    try:
        found = f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        found = ""
    return "" if found == address_type else f"an {address_type} address"


def _port_mistakes(name: str, port: int | None, protocol: str, loc: Loc) -> Iterator[Mistake]:
    if name and (rule := names.label(name)):
        yield invalid((*loc, "name"), name, rule)
    if port is not None and not 1 <= port <= 65535:
        yield invalid((*loc, "port"), port, "from 1 to 65535")
    if protocol not in PROTOCOLS:
        yield unsupported((*loc, "protocol"), protocol, PROTOCOLS)
