"""ResourceSet: all resources of the sources at one moment, arranged as compile asks for them.

In: resources and faults in the order of their files. Out: look-ups by kind and name. An object that is written twice
is taken from the first place, and the other place is a fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
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

OBJECT_TWICE = "object_twice"
"""Code of a fault."""


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

    def replaced(
        self, pairs: Collection[tuple[Resource[Kind], Resource[Kind]]], faults: Iterable[Fault] | None
    ) -> ResourceSet | None:
        """The set after an edit that put an object in the place of another one with the same key, for each of `pairs`.

        `faults` are those of the documents; None = they are the same as before. None is returned for a set that has to
        be arranged anew. To do that with 50,000 Services takes a third of a second.
        """
        if any(fault.code == OBJECT_TWICE for fault in self.faults):
            return None
        news: dict[str, list[Resource[Kind]]] = {}
        for _, new in pairs:
            news.setdefault(new.kind, []).append(new)
        slices = self.slices
        if "EndpointSlice" in news:
            found = _with_slices(slices, [pair for pair in pairs if pair[0].kind == "EndpointSlice"])
            if found is None:
                return None
            slices = found
        new_of = dict(pairs)
        return replace(
            self,
            ingresses=_with_new(self.ingresses, new_of) if "Ingress" in news else self.ingresses,
            classes=_with_new(self.classes, new_of) if "IngressClass" in news else self.classes,
            services=_with_named(self.services, news.get("Service", ())),
            secrets=_with_named(self.secrets, news.get("Secret", ())),
            config_maps=_with_named(self.config_maps, news.get("ConfigMap", ())),
            endpoints=_with_named(self.endpoints, news.get("Endpoints", ())),
            slices=slices,
            faults=self.faults if faults is None else tuple(_once_a_kind(faults)),
        )


def _by_name(resources: Iterable[Resource[K]]) -> dict[Name, Resource[K]]:
    return {(resource.namespace, resource.name): resource for resource in resources}


def _by_service(slices: Iterable[Resource[EndpointSlice]]) -> dict[Name, tuple[Resource[EndpointSlice], ...]]:
    found: dict[Name, list[Resource[EndpointSlice]]] = {}
    for resource in slices:
        found.setdefault((resource.namespace, resource.object.service), []).append(resource)
    return {name: tuple(resources) for name, resources in found.items()}


def _with_new(
    known: tuple[Resource[K], ...], new_of: Mapping[Resource[Kind], Resource[Kind]]
) -> tuple[Resource[K], ...]:
    # No loop of Python's own: there may be 20,000.
    return tuple(cast("Iterable[Resource[K]]", map(new_of.get, known, known)))


def _with_named(known: Mapping[Name, Resource[K]], news: Collection[Resource[Kind]]) -> Mapping[Name, Resource[K]]:
    if not news:
        return known
    return {**known, **_by_name(cast("Collection[Resource[K]]", news))}


def _with_slices(
    known: Mapping[Name, tuple[Resource[EndpointSlice], ...]], pairs: Iterable[tuple[Resource[Kind], Resource[Kind]]]
) -> Mapping[Name, tuple[Resource[EndpointSlice], ...]] | None:
    """None = a slice has gone over to another Service."""
    found = dict(known)
    for old, new in cast("Iterable[tuple[Resource[EndpointSlice], Resource[EndpointSlice]]]", pairs):
        if old.object.service != new.object.service:
            return None
        name = (new.namespace, new.object.service)
        found[name] = tuple(new if each is old else each for each in found[name])
    return found


def _twice(resource: Resource[Kind], known: Resource[Kind]) -> Fault:
    return resource.fault(
        Severity.ERROR,
        OBJECT_TWICE,
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
