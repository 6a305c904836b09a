"""What one Service wants to open at layer 4, and what is odd about that.

In: a Service, the addresses and node ports that it was given, what the operator decided. Out: StreamListeners, each
with the field that asks for it. Whether somebody else has the port is for streams.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ingressd.compile.made import PoolName
from ingressd.compile.node_ports import PortKey
from ingressd.compile.options import CompileOptions, StreamOptions
from ingressd.compile.pools import PROXY_PROTOCOL_ANNOTATION
from ingressd.errors import Fault, Severity
from ingressd.filters.address_ranges import AddressRanges
from ingressd.model.resource import Resource
from ingressd.model.service import Service, ServicePort
from ingressd.model.shape import Loc
from ingressd.table.stream import CLUSTER_IP, EXTERNAL_IP, LOAD_BALANCER, NODE_PORT, TCP, UDP, StreamListener

_PROTOCOLS = (TCP, UDP)
_PUBLISHED = ("NodePort", "LoadBalancer")
_PROXY_PROTOCOL_VERSION = "v2"


class Opening(NamedTuple):
    """One listener that a Service wants."""

    listener: StreamListener
    key: str
    """The listener's: it is made anew whenever it is asked for."""
    pool: PoolName
    loc: Loc
    """The field of the Service that asks for it."""


@dataclass(frozen=True, slots=True)
class Openings:
    """All that one Service wants."""

    wanted: tuple[Opening, ...] = ()
    faults: tuple[Fault, ...] = ()


NOTHING = Openings()


def needs_node_ports(service: Service, options: StreamOptions) -> bool:
    """Whether each of its ports has a node port, written down or not."""
    spec = service.spec
    if not options.node_ports or service.headless or spec.type not in _PUBLISHED:
        return False
    return spec.type == "NodePort" or spec.allocate_load_balancer_node_ports is not False


def port_key(service: Resource[Service], port: ServicePort) -> PortKey:
    """What its node port is given by."""
    return PortKey(service.namespace, service.name, port.port, port.protocol)


def openings(
    service: Resource[Service], options: CompileOptions, cluster_ip: str, given: Mapping[PortKey, int]
) -> Openings:
    """`cluster_ip` is empty when the Service has none, `given` are the node ports that are not written down."""
    spec = service.object.spec
    if spec.type == "ExternalName" or service.object.headless:
        return NOTHING
    faults: list[Fault] = list(_notes(service))
    addresses = tuple(_external_ips(service, faults)) if options.streams.external_ips else ()
    publishes = options.streams.node_ports and spec.type in _PUBLISHED
    if not (publishes or cluster_ip or addresses):
        return Openings((), tuple(faults)) if faults else NOTHING
    makes = _Maker(service, options, _proxy_protocol(service, faults))
    sources = _sources(service, faults)
    wanted: list[Opening] = []
    for index, port in enumerate(spec.ports):
        if port.protocol not in _PROTOCOLS:
            faults.append(_unsupported(service, port, index))
            continue
        loc: Loc = ("spec", "ports", index)
        if publishes:
            node_port = port.node_port or given.get(port_key(service, port), 0)
            if node_port:
                place: Loc = (*loc, "nodePort") if port.node_port else (*loc, "port")
                wanted.append(makes.opening(port, options.streams.address, node_port, NODE_PORT, place))
            if spec.type == "LoadBalancer" and sources is not None:
                place = (*loc, "port")
                wanted.append(makes.opening(port, options.streams.address, port.port, LOAD_BALANCER, place, sources))
        if cluster_ip:
            wanted.append(makes.opening(port, cluster_ip, port.port, CLUSTER_IP, (*loc, "port")))
        for place, address in addresses:
            wanted.append(makes.opening(port, address, port.port, EXTERNAL_IP, place))
    return Openings(tuple(wanted), tuple(faults))


class _Maker:
    """Makes the listeners of one Service."""

    def __init__(self, service: Resource[Service], options: CompileOptions, proxy_protocol: bool) -> None:
        self._service = service
        self._options = options
        self._proxy_protocol = proxy_protocol

    def opening(
        self, port: ServicePort, address: str, number: int, role: str, loc: Loc, sources: tuple[str, ...] = ()
    ) -> Opening:
        service, streams = self._service, self._options.streams
        pool = PoolName(service.namespace, service.name, str(port.port), port.protocol)
        listener = StreamListener(
            protocol=port.protocol,
            address=address,
            port=number,
            pool=pool.id,
            namespace=service.namespace,
            service=service.name,
            service_port=port.name or str(port.port),
            role=role,
            proxy_protocol=self._proxy_protocol and port.protocol == TCP,
            connect_s=self._options.limits.connect_s,
            idle_s=streams.idle_s,
            udp_idle_s=streams.udp_idle_s,
            sources=sources,
        )
        return Opening(listener, listener.key, pool, loc)


def _notes(service: Resource[Service]) -> Iterator[Fault]:
    """What has no effect here, or another one than it seems."""
    spec = service.object.spec
    policies = (
        ("internalTrafficPolicy", spec.internal_traffic_policy),
        ("externalTrafficPolicy", spec.external_traffic_policy),
    )
    for field, policy in policies:
        if policy == "Local":
            message = f"{field}: Local has no effect: there are no nodes, all endpoints are used"
            yield service.fault(Severity.INFO, "traffic_policy_ignored", message, loc=("spec", field))
    if spec.type == "ClusterIP":
        for index, port in enumerate(spec.ports):
            if port.node_port:
                message = f"nodePort {port.node_port} is not opened: {service.key} is of the type ClusterIP"
                loc: Loc = ("spec", "ports", index, "nodePort")
                yield service.fault(Severity.WARNING, "node_port_unused", message, "write `type: NodePort`", loc)


def _external_ips(service: Resource[Service], faults: list[Fault]) -> Iterator[tuple[Loc, str]]:
    """Those that may be opened: addresses of this machine that are nobody else's."""
    for index, text in enumerate(service.object.spec.external_ips):
        loc: Loc = ("spec", "externalIPs", index)
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            address = None
        if address is not None and address.is_loopback:
            yield loc, str(address)
            continue
        what = "is no IP address" if address is None else "is not a loopback address"
        message = f"externalIPs: {text} {what}: nothing is opened for it"
        hint = "only addresses of 127.0.0.0/8 and ::1 are opened: elsewhere the address is another machine's"
        faults.append(service.fault(Severity.INFO, "external_ip_unused", message, hint, loc))


def _sources(service: Resource[Service], faults: list[Fault]) -> tuple[str, ...] | None:
    """Whom a load balancer's port is for; None = for nobody, since it is not clear for whom."""
    spec = service.object.spec
    if spec.type != "LoadBalancer" or not spec.load_balancer_source_ranges:
        return ()
    wrong = [index for index, text in enumerate(spec.load_balancer_source_ranges) if not _is_network(text.strip())]
    for index in wrong:
        message = (
            f"{spec.load_balancer_source_ranges[index]} is no network:"
            f" the ports of the load balancer {service.key} are not opened"
        )
        loc: Loc = ("spec", "loadBalancerSourceRanges", index)
        hint = 'write it as in "10.0.0.0/8"'
        faults.append(service.fault(Severity.ERROR, "source_range_invalid", message, hint, loc))
    return None if wrong else tuple(text.strip() for text in spec.load_balancer_source_ranges)


def _is_network(text: str) -> bool:
    try:
        AddressRanges.parse(text)
    except ValueError:
        return False
    return "," not in text


def _proxy_protocol(service: Resource[Service], faults: list[Fault]) -> bool:
    version = service.object.metadata.annotations.get(PROXY_PROTOCOL_ANNOTATION)
    if version is None or version == _PROXY_PROTOCOL_VERSION:
        return version is not None
    loc: Loc = ("metadata", "annotations", PROXY_PROTOCOL_ANNOTATION)
    message = f"{PROXY_PROTOCOL_ANNOTATION}: {version} is not spoken: endpoints get no header"
    faults.append(service.fault(Severity.ERROR, "proxy_protocol_invalid", message, "write v2, or remove it", loc))
    return False


def _unsupported(service: Resource[Service], port: ServicePort, index: int) -> Fault:
    message = f"port {port.port} is {port.protocol}, which is not passed on: TCP and UDP are"
    loc: Loc = ("spec", "ports", index, "protocol")
    return service.fault(Severity.WARNING, "protocol_unsupported", message, loc=loc)
