"""What a cluster did for the Services of an Ingress, and somebody has to do without one.

In: an Ingress and the manifests. Out: a line for each Service whose endpoints only a cluster knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from ingressd.compile.pools import DISCOVERY_ANNOTATION, ENDPOINTS_ANNOTATION
from ingressd.compile.slices import target_number
from ingressd.model.ingress import Backend, Ingress
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.service import Service


def services_of(ingress: Resource[Ingress], resources: ResourceSet) -> Iterator[str]:
    """One line a Service."""
    names = dict.fromkeys(backend.service.name for backend in _backends(ingress.object) if backend.service is not None)
    for name in names:
        key = (ingress.namespace, name)
        service = resources.services.get(key)
        if service is not None and not _knows_its_endpoints(service, resources):
            ports = [target_number(port) for port in service.object.spec.ports if port.protocol == "TCP"]
            port = ports[0] if ports else 80
            yield (
                f"Service {ingress.namespace}/{name}: only a cluster knows its Pods. DNS is asked for {name}:{port}, as"
                f' docker-compose answers it; or write {ENDPOINTS_ANNOTATION}: "127.0.0.1:{port}"'
            )


def _backends(ingress: Ingress) -> Iterator[Backend]:
    for rule in ingress.spec.rules:
        yield from (path.backend for path in (rule.http.paths if rule.http is not None else ()))
    if ingress.spec.default_backend is not None:
        yield ingress.spec.default_backend


def _knows_its_endpoints(service: Resource[Service], resources: ResourceSet) -> bool:
    key = (service.namespace, service.name)
    annotations = service.object.metadata.annotations
    return (
        key in resources.slices
        or key in resources.endpoints
        or service.object.spec.type == "ExternalName"
        or DISCOVERY_ANNOTATION in annotations
        or ENDPOINTS_ANNOTATION in annotations
    )
