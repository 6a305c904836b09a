"""Pools: a Service port becomes endpoints, or the question that discovery is asked for them.

In: Services, EndpointSlices, Endpoints, answers of discovery. Out: the Pool of a port, with all that it was made of. A
Service that is missing or empty makes a Pool that says why. Who names it is for backends.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

from ingressd.balancing.registry import SCHEDULERS
from ingressd.compile.breaker import ANNOTATIONS as BREAKER_ANNOTATIONS
from ingressd.compile.breaker import breaker_of
from ingressd.compile.health import ANNOTATIONS as HEALTH_ANNOTATIONS
from ingressd.compile.health import Mistake, Watch, watch_of
from ingressd.compile.made import BACKEND_RESOURCE, SERVICE_MISSING, Evidence, Made, PoolName, Refusal, refused
from ingressd.compile.options import CompileOptions
from ingressd.compile.reach import Reach
from ingressd.compile.slices import Place, endpoints_of, places_by_address, slices_of, target_number
from ingressd.compile.weights import WEIGHTS_ANNOTATION, weighted
from ingressd.discovery.base import Answer, Query
from ingressd.errors import Fault, Severity
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.service import Service, ServicePort
from ingressd.model.shape import Loc
from ingressd.table.breaker import BreakerLimits
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.snapshot import edited, same_keys
from ingressd.table.upstream_tls import UNVERIFIED, UpstreamTls

DISCOVERY_ANNOTATION = "ingressd.dev/discovery"
ENDPOINTS_ANNOTATION = "ingressd.dev/endpoints"
SCHEDULER_ANNOTATION = "ingressd.dev/scheduler"
PROXY_PROTOCOL_ANNOTATION = "ingressd.dev/proxy-protocol"
SERVICE_ANNOTATIONS = (
    DISCOVERY_ANNOTATION,
    ENDPOINTS_ANNOTATION,
    SCHEDULER_ANNOTATION,
    WEIGHTS_ANNOTATION,
    PROXY_PROTOCOL_ANNOTATION,
    *BREAKER_ANNOTATIONS,
    *HEALTH_ANNOTATIONS,
)

APP_PROTOCOL_UNSUPPORTED = "app_protocol_unsupported"
"""Code of a fault that only concerns HTTP."""

TLS_PROTOCOLS = frozenset({"https", "kubernetes.io/wss"})
PLAIN_PROTOCOLS = frozenset({"http", "kubernetes.io/ws", ""})
"""appProtocols that mean HTTP/1.1; of any other it is said that HTTP/1.1 is spoken all the same."""

REFUSED_ONLY = "leads only to addresses that it may not reach"
"""The problem of a Pool that has no other endpoint (docs/decisions/0006)."""


class _Found(NamedTuple):
    """What is known about the endpoints of a port without asking anybody, and what has to be asked."""

    endpoints: tuple[Endpoint, ...] = ()
    queries: tuple[Query, ...] = ()
    problem: str = ""
    """Why there are none, if there are none."""
    external_name: bool = False
    """The answers are an ExternalName's: they may not lead to loopback addresses either."""


class PoolMaker:
    """Makes Pools of the resources and answers of one run."""

    def __init__(self, resources: ResourceSet, answers: Mapping[Query, Answer], options: CompileOptions) -> None:
        self._resources = resources
        self._answers = dict(answers)
        self._options = options
        self._faults: list[Fault] = []
        """Of the Pool that is being made."""
        self._reach = Reach(options.external_name_allow)

    def holds(self, name: PoolName, made: Made) -> bool:
        """Whether it would be made the same again, by the same options."""
        return made.evidence == self._evidence(name) and all(
            self._answers.get(query) == answer for query, answer in zip(made.queries, made.answers, strict=True)
        )

    def edited(self, before: PoolMaker) -> set[tuple[str, str]]:
        """The Services of which something is written that is not as it was for the maker `before`."""
        now, then = self._resources, before._resources
        found: set[tuple[str, str]] = set()
        pairs: tuple[tuple[Mapping[tuple[str, str], object], Mapping[tuple[str, str], object]], ...] = (
            (now.services, then.services),
            (now.slices, then.slices),
            (now.endpoints, then.endpoints),
        )
        for new, old in pairs:
            if new is not old:
                found.update(key for key in edited(old, new) if old.get(key) != new[key])
                if not same_keys(old, new):
                    found.update(old.keys() - new.keys())
        return found

    def answers_differ(self, before: PoolMaker) -> bool:
        """Whether discovery has said anything else meanwhile."""
        return self._answers != before._answers

    def make(self, name: PoolName) -> Made:
        """The Pool, whether it can have endpoints or not."""
        if "/" in name.service:
            problem = f"a backend of the kind {name.service} is not supported: name a Service"
            return refused(name, Refusal(BACKEND_RESOURCE, problem, ("resource",)))
        evidence = self._evidence(name)
        service = evidence.service
        if service is None:
            problem = f"there is no Service {name.namespace}/{name.service}"
            return refused(name, Refusal(SERVICE_MISSING, problem, ("service", "name")), evidence)
        self._faults = []
        self._judge(service)
        chosen = _port_of(service.object, name.port, name.protocol)
        if isinstance(chosen, str):
            refusal = Refusal("service_port_missing", chosen, ("service", "port"))
            return refused(name, refusal, evidence, tuple(self._faults))
        found = self._found(service, chosen)
        return Made(
            pool=self._pool(name, service, chosen, found),
            queries=found.queries,
            answers=tuple(self._answers.get(query) for query in found.queries),
            evidence=evidence,
            faults=tuple(self._faults),
        )

    def _evidence(self, name: PoolName) -> Evidence:
        key = (name.namespace, name.service)
        resources = self._resources
        return Evidence(resources.services.get(key), resources.slices.get(key), resources.endpoints.get(key))

    def _pool(self, name: PoolName, service: Resource[Service], chosen: ServicePort, found: _Found) -> Pool:
        endpoints = list(self._written(name, found.endpoints))
        problem = f"{name.service} {REFUSED_ONLY}" if found.endpoints and not endpoints else found.problem
        for query in found.queries:
            answer = self._answers.get(query)
            if answer is None:
                problem = problem or f"{query.provider} has not answered yet for {query.target}"
                continue
            problem = problem or answer.problem
            if answer.problem:
                self._discovery_fault(service, query, answer.problem)
            permitted = list(self._answered(service, query, answer.endpoints, external_name=found.external_name))
            if answer.endpoints and not permitted:
                problem = problem or f"{_asked_for(query)} {REFUSED_ONLY}"
            endpoints += permitted
        unique = self._weighted(service, tuple({endpoint.key: endpoint for endpoint in endpoints}.values()))
        limits = self._options.limits
        watch = self._watch(service)
        return Pool(
            id=name.id,
            namespace=name.namespace,
            service=name.service,
            port=name.port,
            endpoints=unique,
            problem="" if unique else problem or "no endpoint is ready",
            scheduler=name.variant.scheduler or self._scheduler(service),
            affinity_s=service.object.affinity_s,
            tls=self._tls(name, service, chosen),
            connect_s=limits.connect_s,
            check=watch.check,
            outliers=watch.outliers,
            slow_start_s=watch.slow_start_s,
            breaker=self._breaker(service),
            panic_percent=watch.panic_percent,
        )

    def _found(self, service: Resource[Service], port: ServicePort) -> _Found:
        """Endpoints that are written down, else the questions; in the order of precedence."""
        name = (service.namespace, service.name)
        slices = self._resources.slices.get(name)
        if slices:
            written = slices_of(slices, service.object, port, self._options.zone)
            if not written.port_found:
                return _Found(problem=self._slice_port_fault(service, port))
            if written.port_guessed:
                self._guessed_port_fault(service, port)
            queries = tuple(Query("dns", each.address, each.port) for each in written.names)
            problem = "" if queries else "no endpoint of its EndpointSlices is ready"
            return _Found(written.endpoints, queries, problem)
        endpoints = self._resources.endpoints.get(name)
        if endpoints is not None:
            addresses = endpoints_of(endpoints.object, service.object, port)
            return _Found(addresses, problem="its Endpoints have no address for this port")
        spec = service.object.spec
        if spec.type == "ExternalName" and not _names_provider(service):
            return _Found(queries=(Query("dns", spec.external_name.removesuffix("."), port.port),), external_name=True)
        query = self._query(service, port)
        if query is None:
            return _Found(problem="it has no EndpointSlices, and discovery is off")
        if isinstance(port.target_port, str) and query.provider != "static":
            self._guessed_port_fault(service, port)
        return _Found(queries=(query,))

    def _query(self, service: Resource[Service], port: ServicePort) -> Query | None:
        annotations = service.object.metadata.annotations
        provider, _, target = (part.strip() for part in annotations.get(DISCOVERY_ANNOTATION, "").partition(":"))
        if not provider:
            provider = "static" if ENDPOINTS_ANNOTATION in annotations else self._options.discovery
        if provider == "off":
            return None
        if provider == "static":
            target = target or annotations.get(ENDPOINTS_ANNOTATION, "")
        return Query(provider, target or service.name, target_number(port))

    def _written(self, name: PoolName, endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
        """Those of slices and Endpoints that may be reached."""
        places: dict[str, list[Place]] | None = None
        for endpoint in endpoints:
            what = self._reach.refusal(endpoint.address)
            if not what:
                yield endpoint
                continue
            if places is None:
                evidence = self._evidence(name)
                places = places_by_address(evidence.slices or (), evidence.endpoints)
            for resource, loc in places.pop(endpoint.address, ()):
                message = f"{endpoint.address} is {what}: it is not used"
                hint = _allow_hint(endpoint.address)
                self._faults.append(resource.fault(Severity.ERROR, "address_refused", message, hint, loc))

    def _answered(
        self, service: Resource[Service], query: Query, endpoints: Iterable[Endpoint], *, external_name: bool
    ) -> Iterator[Endpoint]:
        """Those of an answer that may be reached."""
        code = "external_name_refused" if external_name else "address_refused"
        for endpoint in endpoints:
            what = self._reach.refusal(endpoint.address, external_name=external_name)
            if not what:
                yield endpoint
                continue
            message = f"{_asked_for(query)} leads to {endpoint.address}, which is {what}: it is not used"
            loc = _place_of(service)
            hint = _allow_hint(endpoint.address)
            self._faults.append(service.fault(Severity.ERROR, code, message, hint, loc))

    def _judge(self, service: Resource[Service]) -> None:
        """Tell what is odd about a Service."""
        for annotation in service.object.metadata.annotations:
            if annotation.startswith("ingressd.dev/") and annotation not in SERVICE_ANNOTATIONS:
                near = get_close_matches(annotation, SERVICE_ANNOTATIONS, n=1)
                self._faults.append(
                    service.fault(
                        Severity.WARNING,
                        "annotation_unknown",
                        f"{annotation}: a Service has no such annotation",
                        f"did you mean {near[0]}?" if near else "remove it",
                        ("metadata", "annotations", annotation),
                    )
                )
        if service.object.spec.traffic_distribution == "PreferSameNode":
            message = "PreferSameNode: there are no nodes here, so endpoints in the zone of --zone are preferred"
            loc: Loc = ("spec", "trafficDistribution")
            hint = "PreferSameZone says that"
            self._faults.append(service.fault(Severity.INFO, "traffic_distribution_node", message, hint, loc))
        scheduler = service.object.metadata.annotations.get(SCHEDULER_ANNOTATION)
        if scheduler is not None and scheduler not in SCHEDULERS:
            self._faults.append(
                service.fault(
                    Severity.ERROR,
                    "scheduler_unknown",
                    f"there is no scheduler {scheduler}: {self._options.scheduler} picks",
                    f"choose {', '.join(sorted(SCHEDULERS))}",
                    ("metadata", "annotations", SCHEDULER_ANNOTATION),
                )
            )

    def _watch(self, service: Resource[Service]) -> Watch:
        watch = watch_of(service.object.metadata.annotations, self._options.outliers)
        self._tell(service, watch.mistakes)
        return watch

    def _breaker(self, service: Resource[Service]) -> BreakerLimits | None:
        breaker, mistakes = breaker_of(service.object.metadata.annotations)
        self._tell(service, mistakes)
        return breaker

    def _tell(self, service: Resource[Service], mistakes: Iterable[Mistake]) -> None:
        for mistake in mistakes:
            loc: Loc = ("metadata", "annotations", mistake.annotation)
            if mistake.invalid:
                fault = service.fault(Severity.ERROR, "annotation_invalid", mistake.message, "", loc)
            else:
                fault = service.fault(Severity.WARNING, "annotation_unused", mistake.message, "remove it", loc)
            self._faults.append(fault)

    def _scheduler(self, service: Resource[Service]) -> str:
        wanted = service.object.metadata.annotations.get(SCHEDULER_ANNOTATION, "")
        return wanted if wanted in SCHEDULERS else self._options.scheduler

    def _weighted(self, service: Resource[Service], endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        text = service.object.metadata.annotations.get(WEIGHTS_ANNOTATION)
        if text is None:
            return endpoints
        chosen = weighted(text, endpoints)
        loc: Loc = ("metadata", "annotations", WEIGHTS_ANNOTATION)
        for mistake in chosen.mistakes:
            hint = 'write it as in "10.0.0.1:8080=3, 10.0.0.2:8080=1"'
            self._faults.append(service.fault(Severity.ERROR, "weight_invalid", mistake, hint, loc))
        for item in chosen.unused:
            message = f"{item}: {service.namespace}/{service.name} has no endpoint with this address"
            hint = f"its endpoints: {', '.join(endpoint.key for endpoint in endpoints[:3])}"
            self._faults.append(service.fault(Severity.WARNING, "weight_unused", message, hint, loc))
        return chosen.endpoints

    def _tls(self, name: PoolName, service: Resource[Service], port: ServicePort) -> UpstreamTls | None:
        """Whose certificate it must be is by default that of the Service's name."""
        # What is odd about appProtocol is said where it decides.
        by_service = not name.variant.protocol and self._speaks_tls(service, port)
        if not name.variant.speaks_tls(by_service):
            return None
        tls = name.variant.tls or UNVERIFIED
        return tls if tls.name or not (tls.verify or tls.sends_sni) else replace(tls, name=name.service)

    def _speaks_tls(self, service: Resource[Service], port: ServicePort) -> bool:
        protocol = (port.app_protocol or "").lower()  # RFC 6335 section 5.1: names of services have no case
        if protocol not in TLS_PROTOCOLS | PLAIN_PROTOCOLS:
            message = f"appProtocol {port.app_protocol} is not spoken: HTTP/1.1 is"
            hint = "use http, https, kubernetes.io/ws or kubernetes.io/wss"
            self._port_fault(service, port, APP_PROTOCOL_UNSUPPORTED, message, hint, "appProtocol")
        return protocol in TLS_PROTOCOLS

    def _slice_port_fault(self, service: Resource[Service], port: ServicePort) -> str:
        """The problem, which is also a fault: a name that differs is easily overlooked."""
        what = f"port {port.name}" if port.name else "port without a name"
        message = f"the EndpointSlices of {service.namespace}/{service.name} have no {port.protocol} {what}"
        hint = "give the port the same name in the Service and in its EndpointSlices"
        self._port_fault(service, port, "slice_port_missing", message, hint)
        return f"its EndpointSlices have no {what}"

    def _guessed_port_fault(self, service: Resource[Service], port: ServicePort) -> None:
        message = (
            f"targetPort {port.target_port} is the name of a container port, which is known in a cluster only:"
            f" port {port.port} is used"
        )
        hint = "write its number, as in `targetPort: 8080`"
        self._port_fault(service, port, "target_port_named", message, hint, "targetPort")

    def _port_fault(
        self, service: Resource[Service], port: ServicePort, code: str, message: str, hint: str, *field: str
    ) -> None:
        ports = service.object.spec.ports
        loc: Loc = ("spec", "ports", ports.index(port), *field) if port in ports else ("spec",)
        self._faults.append(service.fault(Severity.WARNING, code, message, hint, loc))

    def _discovery_fault(self, service: Resource[Service], query: Query, problem: str) -> None:
        message = f"{service.namespace}/{service.name}: {problem}"
        hint, loc = _discovery_hint(query), _place_of(service)
        self._faults.append(service.fault(Severity.WARNING, "discovery_failed", message, hint, loc))


def _port_of(service: Service, port: str, protocol: str) -> ServicePort | str:
    """The Service's port by name or number, or in words why there is none."""
    ports = service.spec.ports
    number = int(port) if port.isdigit() else 0
    if service.spec.type == "ExternalName" and number and not ports:
        return ServicePort(port=number)
    named = [each for each in ports if each.port == number or (not number and each.name == port)]
    for each in named:
        if each.protocol == protocol:
            return each
    if named:
        return f"port {port} of Service {service.metadata.name} is {named[0].protocol}, not {protocol}"
    known = ", ".join(f"{each.port} ({each.name})" if each.name else str(each.port) for each in ports) or "no port"
    return f"Service {service.metadata.name} has no port {port}: it has {known}"


def _names_provider(service: Resource[Service]) -> bool:
    annotations = service.object.metadata.annotations
    return bool(annotations.get(DISCOVERY_ANNOTATION) or annotations.get(ENDPOINTS_ANNOTATION))


def _place_of(service: Resource[Service]) -> Loc:
    """Where the Service says what discovery is asked."""
    annotations = service.object.metadata.annotations
    for annotation in (DISCOVERY_ANNOTATION, ENDPOINTS_ANNOTATION):
        if annotation in annotations:
            return ("metadata", "annotations", annotation)
    return ("spec", "externalName") if service.object.spec.external_name else ()


def _asked_for(query: Query) -> str:
    return "the list of endpoints" if query.provider == "static" else query.target


def _allow_hint(address: str) -> str:
    return f"if you mean it: --external-name-allow {address}"


def _discovery_hint(query: Query) -> str:
    if query.provider == "dns":
        return f"write an EndpointSlice, or start what is called {query.target}"
    return ""
