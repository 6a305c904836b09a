"""ResourceSet: all resources of the sources at one moment, arranged as compile asks for them.

In: resources and faults in the order of their files. Out: look-ups by kind and name. An object that is written twice
is taken from the first place, and the other place is a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from ingressd.errors import Fault, Severity
from ingressd.model.config_map import ConfigMap
from ingressd.model.endpoint_slice import EndpointSlice
from ingressd.model.endpoints import Endpoints
from ingressd.model.ingress import Ingress
from ingressd.model.ingress_class import IngressClass
from ingressd.model.kinds import Kind
from ingressd.model.reading import KIND_IGNORED
from ingressd.model.resource import Key, Resource
from ingressd.model.secret import Secret
from ingressd.model.service import Service

K = TypeVar("K", bound=Kind)

Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True, eq=False)
class ResourceSet:
    """Frozen: an edit makes the next one, which shares what did not change."""

    ingresses: tuple[Resource[Ingress], ...] = ()
    classes: tuple[Resource[IngressClass], ...] = ()
    services: Mapping[Name, Resource[Service]] = field(default_factory=dict)
    secrets: Mapping[Name, Resource[Secret]] = field(default_factory=dict)
    config_maps: Mapping[Name, Resource[ConfigMap]] = field(default_factory=dict)
    endpoints: Mapping[Name, Resource[Endpoints]] = field(default_factory=dict)
    slices: Mapping[Name, tuple[Resource[EndpointSlice], ...]] = field(default_factory=dict)
    """By the namespace and name of their Service."""
    faults: tuple[Fault, ...] = ()
    """What is wrong with documents and objects by themselves."""
    files: int = 0

    @classmethod
    def of(cls, resources: Iterable[Resource[Kind]], faults: Iterable[Fault] = (), files: int = 0) -> ResourceSet:
        """Arrange `resources`, which come in the order of their files."""
        noted = _once_a_kind(faults)
        first: dict[Key, Resource[Kind]] = {}
        by_kind: dict[str, list[Resource[Kind]]] = {}
        for resource in resources:
            key = resource.key
            known = first.setdefault(key, resource)
            if known is resource:
                by_kind.setdefault(key.kind, []).append(resource)
            else:
                noted.append(_twice(resource, known))
        return cls(
            ingresses=tuple(cast("list[Resource[Ingress]]", by_kind.get("Ingress", []))),
            classes=tuple(cast("list[Resource[IngressClass]]", by_kind.get("IngressClass", []))),
            services=_by_name(cast("list[Resource[Service]]", by_kind.get("Service", []))),
            secrets=_by_name(cast("list[Resource[Secret]]", by_kind.get("Secret", []))),
            config_maps=_by_name(cast("list[Resource[ConfigMap]]", by_kind.get("ConfigMap", []))),
            endpoints=_by_name(cast("list[Resource[Endpoints]]", by_kind.get("Endpoints", []))),
            slices=_by_service(cast("list[Resource[EndpointSlice]]", by_kind.get("EndpointSlice", []))),
            faults=tuple(noted),
            files=files,
        )


def _by_name(resources: Iterable[Resource[K]]) -> dict[Name, Resource[K]]:
    return {(resource.namespace, resource.name): resource for resource in resources}


def _by_service(slices: Iterable[Resource[EndpointSlice]]) -> dict[Name, tuple[Resource[EndpointSlice], ...]]:
    found: dict[Name, list[Resource[EndpointSlice]]] = {}
    for resource in slices:
        found.setdefault((resource.namespace, resource.object.service), []).append(resource)
    return {name: tuple(resources) for name, resources in found.items()}


def _twice(resource: Resource[Kind], known: Resource[Kind]) -> Fault:
    return resource.fault(
        Severity.ERROR,
        "object_twice",
        f"{resource.key} is already written at {known.place('metadata', 'name')}, which is the one that counts",
        "remove one of them, or give it another name",
        ("metadata", "name"),
    )


def _once_a_kind(faults: Iterable[Fault]) -> list[Fault]:
    """Of the notes about kinds that are not read, the first of each."""
    kept: list[Fault] = []
    seen: set[str] = set()
    for fault in faults:
        if fault.code == KIND_IGNORED:
            if fault.message in seen:
                continue
            seen.add(fault.message)
        kept.append(fault)
    return kept
