"""EndpointSlices and Endpoints: the addresses of one port of a Service that are written down.

In: the objects of one Service. Out: Endpoints in the order they are written, ready ones, or those that still serve
while they terminate when no other is left (kube-proxy's fallback, KEP-1669).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ingressd.model.endpoint_slice import EndpointSlice, SliceEndpoint, SlicePort
from ingressd.model.endpoints import Endpoints
from ingressd.model.resource import Resource
from ingressd.model.service import Service, ServicePort
from ingressd.table.endpoint import Endpoint


class NamedAddress(NamedTuple):
    """An endpoint of a slice of the type FQDN: its address is a DNS name."""

    address: str
    port: int


class _Candidate(NamedTuple):
    endpoint: Endpoint
    ready: bool
    serving: bool


def slices_of(
    slices: Iterable[Resource[EndpointSlice]], service: Service, port: ServicePort
) -> tuple[tuple[Endpoint, ...], tuple[NamedAddress, ...]]:
    """The union of the slices: addresses, and names that have to be resolved."""
    candidates: list[_Candidate] = []
    names: list[NamedAddress] = []
    not_ready_too = service.spec.publish_not_ready_addresses
    for resource in slices:
        slice_ = resource.object
        number = _number(slice_, service, port)
        if number is None:
            continue
        for endpoint in slice_.endpoints:
            if slice_.address_type == "FQDN":
                if endpoint.conditions.ready is not False or not_ready_too:
                    names.append(NamedAddress(endpoint.addresses[0].removesuffix("."), number))
            else:
                candidates.append(_candidate(endpoint, number, not_ready_too=not_ready_too))
    chosen = [each.endpoint for each in candidates if each.ready] or [
        each.endpoint for each in candidates if each.serving and each.endpoint.terminating
    ]
    return tuple({endpoint.key: endpoint for endpoint in chosen}.values()), tuple(names)


def endpoints_of(endpoints: Endpoints, port: ServicePort) -> tuple[Endpoint, ...]:
    """The ready addresses of the older kind."""
    return tuple({endpoint.key: endpoint for endpoint in _subsets(endpoints, port)}.values())


def _subsets(endpoints: Endpoints, port: ServicePort) -> Iterator[Endpoint]:
    for subset in endpoints.subsets:
        for each in subset.ports:
            alone = len(subset.ports) == 1 and not each.name
            if each.name == port.name or alone:
                for address in subset.addresses:
                    yield Endpoint(str(ipaddress.ip_address(address.ip)), each.port)


def _number(slice_: EndpointSlice, service: Service, port: ServicePort) -> int | None:
    """The port number of the slice's endpoints; None = the slice has nothing for this port."""
    written: SlicePort | None = None
    for each in slice_.ports:
        if each.name == port.name and each.protocol == port.protocol:
            written = each
    if written is None and len(slice_.ports) == 1 and len(service.spec.ports) == 1 and not slice_.ports[0].name:
        written = slice_.ports[0]  # people leave the name out where there is only one
    if written is None and slice_.ports:
        return None
    if written is not None and written.port is not None:
        return written.port
    # No ports, or one that is not restricted: the Service says which (ingress-nginx does the same).
    return port.target_port if isinstance(port.target_port, int) else port.port


def _candidate(endpoint: SliceEndpoint, port: int, *, not_ready_too: bool) -> _Candidate:
    conditions = endpoint.conditions
    terminating = conditions.terminating is True
    ready = conditions.ready is not False
    # Only the first address counts: the others are of the same endpoint (EndpointSlice API).
    address = str(ipaddress.ip_address(endpoint.addresses[0]))
    made = Endpoint(address, port, zone=endpoint.zone or "", terminating=terminating)
    return _Candidate(made, ready or not_ready_too, conditions.serving is not False)
