"""Endpoints (v1), which EndpointSlices replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingressd.model import names
from ingressd.model.metadata import Metadata
from ingressd.model.shape import Items, Mistake, Shape, invalid, required


class EndpointsAddress(Shape):
    """One address."""

    ip: str = ""
    hostname: str | None = None
    node_name: Any = None
    target_ref: Any = None


class EndpointsPort(Shape):
    """One port of all addresses of the subset."""

    name: str = ""
    port: int
    protocol: str = "TCP"
    app_protocol: str | None = None


class Subset(Shape):
    """Addresses times ports."""

    addresses: Items[EndpointsAddress] = ()
    not_ready_addresses: Items[EndpointsAddress] = ()
    ports: Items[EndpointsPort] = ()


class Endpoints(Shape):
    """v1 Endpoints: of the Service with the same name."""

    api_version: str
    kind: str
    metadata: Metadata
    subsets: Items[Subset] = ()

    def mistakes(self) -> Iterator[Mistake]:
        """Rules of ValidateEndpoints, but loopback addresses are allowed: people proxy to their own machine."""
        yield from self.metadata.mistakes()
        for index, subset in enumerate(self.subsets):
            for field, addresses in (
                ("addresses", subset.addresses),
                ("notReadyAddresses", subset.not_ready_addresses),
            ):
                for place, address in enumerate(addresses):
                    loc = ("subsets", index, field, place, "ip")
                    if not address.ip:
                        yield required(loc)
                    elif not names.is_address(address.ip):
                        yield invalid(loc, address.ip, "an IP address")
                    if address.hostname and (rule := names.label(address.hostname)):
                        yield invalid((*loc[:-1], "hostname"), address.hostname, rule)
            for place, port in enumerate(subset.ports):
                if not 1 <= port.port <= 65535:
                    yield invalid(("subsets", index, "ports", place, "port"), port.port, "from 1 to 65535")
