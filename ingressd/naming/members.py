"""Members: who answers for a Service, in the words of DNS: a label, an address, and the ports by name.

In: a Service, its EndpointSlices or Endpoints, what discovery found. Out: Members in the order they are written, ready
ones only, each address once. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ingressd.compile.slices import slice_port, subset_addresses, subset_ports, target_number
from ingressd.model.endpoint_slice import EndpointSlice
from ingressd.model.endpoints import Endpoints
from ingressd.model.resource import Resource
from ingressd.model.service import Service, ServicePort
from ingressd.table.endpoint import Endpoint


class MemberPort(NamedTuple):
    """Where a Member listens for a port of the Service."""

    name: str
    protocol: str
    number: int


class Member(NamedTuple):
    """One address."""

    label: str
    """Its hostname, or one that is made of its address."""
    address: str
    ports: tuple[MemberPort, ...]


class _Seen(NamedTuple):
    """One place where an address is written."""

    address: str
    hostname: str
    ports: tuple[MemberPort, ...]


def members(
    service: Service,
    slices: Sequence[Resource[EndpointSlice]],
    endpoints: Resource[Endpoints] | None,
    found: Iterable[tuple[ServicePort, Endpoint]],
) -> tuple[Member, ...]:
    """The Members. `found` are the endpoints that discovery gave, each with its port of the Service.

    Slices come before Endpoints, and both before discovery, but for the names in slices of the type FQDN.
    """
    seen: list[_Seen] = []
    discovered = endpoints is None and not slices
    for resource in slices:
        seen += _of_slice(resource.object, service)
        discovered = discovered or resource.object.address_type == "FQDN"
    if endpoints is not None and not slices:
        seen += _of_endpoints(endpoints.object, service)
    if discovered:
        seen += (_Seen(each.address, "", (_port(port, each.port),)) for port, each in found)
    hostnames: dict[str, str] = {}
    ports: dict[str, dict[MemberPort, None]] = {}
    for each in seen:
        hostnames[each.address] = hostnames.get(each.address) or each.hostname
        ports.setdefault(each.address, {}).update(dict.fromkeys(each.ports))
    return tuple(
        Member(hostname or dashed(address), address, tuple(ports[address])) for address, hostname in hostnames.items()
    )


def dashed(address: str) -> str:
    """A label for an address without a hostname: 10.0.0.1 is `10-0-0-1` (as CoreDNS has it)."""
    label = address.replace(".", "-").replace(":", "-")
    # A label neither begins nor ends with a dash: ::1 is `0--1`.
    return f"{'0' * label.startswith('-')}{label}{'0' * label.endswith('-')}"


def _of_slice(slice_: EndpointSlice, service: Service) -> Iterator[_Seen]:
    if slice_.address_type == "FQDN":
        return
    ports = tuple(
        _port(port, target_number(port) if written.port is None else written.port)
        for port in service.spec.ports
        if (written := slice_port(slice_, service, port)) is not None
    )
    for each in slice_.endpoints:
        if each.conditions.ready is not False or service.spec.publish_not_ready_addresses:
            yield _Seen(str(ipaddress.ip_address(each.addresses[0])), each.hostname or "", ports)


def _of_endpoints(endpoints: Endpoints, service: Service) -> Iterator[_Seen]:
    for subset in endpoints.subsets:
        ports = tuple(
            _port(port, number) for port in service.spec.ports for number in subset_ports(subset, service, port)
        )
        for each in subset_addresses(subset, service):
            yield _Seen(str(ipaddress.ip_address(each.ip)), each.hostname or "", ports)


def _port(port: ServicePort, number: int) -> MemberPort:
    return MemberPort(port.name, port.protocol.lower(), number)
