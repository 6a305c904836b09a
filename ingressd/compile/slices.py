"""EndpointSlices and Endpoints: the addresses of one port of a Service that are written down.

In: the objects of one Service. Out: Endpoints in the order they are written, ready ones, or those that still serve
while they terminate when no other is left (kube-proxy's fallback, KEP-1669).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ingressd.errors import Fault, Severity
from ingressd.model.endpoint_slice import SERVICE_LABEL, EndpointSlice, SliceEndpoint, SlicePort
from ingressd.model.endpoints import Endpoints, EndpointsAddress, Subset
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.service import Service, ServicePort
from ingressd.model.shape import Loc
from ingressd.table.endpoint import Endpoint
from ingressd.table.snapshot import same_keys

Place = tuple[Resource[EndpointSlice] | Resource[Endpoints], Loc]
"""An object, and where in it an address is written."""


class NamedAddress(NamedTuple):
    """An endpoint of a slice of the type FQDN: its address is a DNS name."""

    address: str
    port: int


class Written(NamedTuple):
    """What the slices of a Service say about one port."""

    endpoints: tuple[Endpoint, ...]
    names: tuple[NamedAddress, ...]
    """They have to be resolved."""
    port_found: bool
    """Some slice has the port."""
    port_guessed: bool
    """Some slice has the port without a number, and the Service has only the name of a container port."""


class _Candidate(NamedTuple):
    place: Endpoint | NamedAddress
    ready: bool
    fallback: bool
    """It still serves while it terminates."""
    zone: str
    """Where it is."""
    hints: tuple[str, ...]
    """The zones whose clients it is meant for."""


def slices_of(
    slices: Iterable[Resource[EndpointSlice]], service: Service, port: ServicePort, zone: str = ""
) -> Written:
    """The union of the slices. `zone`: the one that we are in, if the operator has said it."""
    candidates: list[_Candidate] = []
    found = guessed = False
    for resource in slices:
        slice_ = resource.object
        written = slice_port(slice_, service, port)
        if written is None:
            continue
        found = True
        number = written.port
        if number is None:
            # No ports, or one that is not restricted: the Service says which (ingress-nginx does the same).
            number = target_number(port)
            guessed = guessed or isinstance(port.target_port, str)
        not_ready_too = service.spec.publish_not_ready_addresses
        candidates += (_candidate(slice_, each, number, not_ready_too=not_ready_too) for each in slice_.endpoints)
    ready = [each for each in candidates if each.ready]
    near = _near(ready, zone, service) if zone else ready
    chosen = [each.place for each in near or candidates if each.ready or each.fallback]
    endpoints = {place.key: place for place in chosen if isinstance(place, Endpoint)}
    names = dict.fromkeys(place for place in chosen if isinstance(place, NamedAddress))
    return Written(tuple(endpoints.values()), tuple(names), found, guessed)


def endpoints_of(endpoints: Endpoints, service: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    """The addresses of the older kind."""
    return tuple({endpoint.key: endpoint for endpoint in _subsets(endpoints, service, port)}.values())


def places_by_address(
    slices: Iterable[Resource[EndpointSlice]], endpoints: Resource[Endpoints] | None
) -> dict[str, list[Place]]:
    """Where each address is written in the objects of one Service; as slices_of and endpoints_of spell it.

    All at once: a document has room for 50,000, and each of them may be a mistake.
    """
    found: dict[str, list[Place]] = {}
    for place, written in _places(slices, endpoints):
        found.setdefault(str(ipaddress.ip_address(written)), []).append(place)
    return found


def subset_addresses(subset: Subset, service: Service) -> tuple[EndpointsAddress, ...]:
    """Those that are ready, or whose readiness does not matter."""
    not_ready_too = service.spec.publish_not_ready_addresses
    return (*subset.addresses, *(subset.not_ready_addresses if not_ready_too else ()))


def subset_ports(subset: Subset, service: Service, port: ServicePort) -> Iterator[int]:
    """Where the addresses of the subset listen for a port of the Service."""
    # People leave the name out where there is only one.
    alone = len(subset.ports) == 1 and len(service.spec.ports) == 1 and not subset.ports[0].name
    for each in subset.ports:
        if each.protocol == port.protocol and (each.name == port.name or alone):
            yield each.port


def target_number(port: ServicePort) -> int:
    """Where the endpoints of a Service listen that do not say it; a name cannot be looked up without Pods."""
    return port.target_port if isinstance(port.target_port, int) else port.port


def unused(resources: ResourceSet, tidy: ResourceSet | None = None) -> Iterator[Fault]:
    """EndpointSlices and Endpoints whose Service is missing: most often a mistake in a name or a namespace.

    `tidy`: resources among which there were none.
    """
    now = (resources.services, resources.slices, resources.endpoints)
    if tidy is not None and all(map(same_keys, (tidy.services, tidy.slices, tidy.endpoints), now)):
        return
    # What is wrong with a Service itself is said already.
    faulty = {(each.namespace, each.name) for each in resources.faults if each.kind == "Service"}
    missing = resources.slices.keys() - resources.services.keys() - faulty
    for namespace, service in sorted(missing):
        for each in resources.slices[namespace, service]:
            if service:
                yield _unused(each, namespace, service, ("metadata", "labels", SERVICE_LABEL))
            else:
                message = f"{each.key} belongs to no Service: its endpoints are not used"
                hint = f"add the label {SERVICE_LABEL}: NAME-OF-THE-SERVICE"
                yield each.fault(Severity.WARNING, "endpoints_unused", message, hint, ("metadata", "labels"))
    for namespace, service in sorted(resources.endpoints.keys() - resources.services.keys() - faulty):
        yield _unused(resources.endpoints[namespace, service], namespace, service, ("metadata", "name"))


def _unused(
    resource: Resource[EndpointSlice] | Resource[Endpoints], namespace: str, service: str, loc: tuple[str, ...]
) -> Fault:
    message = f"there is no Service {namespace}/{service}: the addresses of {resource.key} are not used"
    hint = "it serves the Service of its own namespace only: correct the name, or add the Service"
    return resource.fault(Severity.WARNING, "endpoints_unused", message, hint, loc)


def _places(
    slices: Iterable[Resource[EndpointSlice]], endpoints: Resource[Endpoints] | None
) -> Iterator[tuple[Place, str]]:
    for slice_ in slices:
        if slice_.object.address_type != "FQDN":
            for index, each in enumerate(slice_.object.endpoints):
                yield (slice_, ("endpoints", index, "addresses", 0)), each.addresses[0]
    if endpoints is not None:
        for index, subset in enumerate(endpoints.object.subsets):
            fields = (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses))
            for field, addresses in fields:
                for number, written in enumerate(addresses):
                    yield (endpoints, ("subsets", index, field, number, "ip")), written.ip


def _subsets(endpoints: Endpoints, service: Service, port: ServicePort) -> Iterator[Endpoint]:
    for subset in endpoints.subsets:
        for number in subset_ports(subset, service, port):
            for address in subset_addresses(subset, service):
                yield Endpoint(str(ipaddress.ip_address(address.ip)), number)


def slice_port(slice_: EndpointSlice, service: Service, port: ServicePort) -> SlicePort | None:
    """The port of the slice's endpoints, its number None when the Service has to say it; None = it has no such port."""
    if not slice_.ports:
        return SlicePort(name=port.name)
    # People leave the name out where there is only one.
    alone = len(slice_.ports) == 1 and len(service.spec.ports) == 1 and not slice_.ports[0].name
    for each in slice_.ports:
        if each.protocol == port.protocol and (each.name == port.name or alone):
            return each
    return None


def _candidate(slice_: EndpointSlice, endpoint: SliceEndpoint, port: int, *, not_ready_too: bool) -> _Candidate:
    conditions = endpoint.conditions
    terminating = conditions.terminating is True
    ready = conditions.ready is not False or not_ready_too
    # Only the first address counts: the others are of the same endpoint (EndpointSlice API).
    first = endpoint.addresses[0]
    place: Endpoint | NamedAddress
    if slice_.address_type == "FQDN":
        place = NamedAddress(first.removesuffix("."), port)
    else:
        place = Endpoint(str(ipaddress.ip_address(first)), port, zone=endpoint.zone or "", terminating=terminating)
    hints = tuple(each.name for each in endpoint.hints.for_zones) if endpoint.hints else ()
    return _Candidate(place, ready, terminating and conditions.serving is not False, endpoint.zone or "", hints)


def _near(ready: list[_Candidate], zone: str, service: Service) -> list[_Candidate]:
    """Those that are meant for our zone, else those in it if the Service prefers them, else all.

    Hints count only if each endpoint has some: whoever wrote them may still be at it (kube-proxy does the same).
    """
    near = [each for each in ready if zone in each.hints] if all(each.hints for each in ready) else []
    if not near and service.spec.traffic_distribution is not None:
        near = [each for each in ready if each.zone == zone]
    return near or ready
