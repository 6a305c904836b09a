"""The report of `ingressd migrate`: what each Ingress of ingress-nginx becomes here.

In: manifests as they are, and what the operator decided. Out: a Report. It is made of what compile says of the same
manifests, with the classes of ingress-nginx served, so that it says what `ingressd run` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from ingressd.compile.classes import CONTROLLER, NGINX, NGINX_CONTROLLER
from ingressd.compile.compiler import compile_snapshot
from ingressd.compile.options import CompileOptions
from ingressd.compile.policies import PREFIXES, canary_annotation
from ingressd.errors import Fault, Severity
from ingressd.filters.path_regex import literal_text
from ingressd.filters.registry import ANNOTATIONS
from ingressd.migration.config_map import Entry, entries, flags, is_controllers
from ingressd.migration.differences import SEVERAL_CANARIES, Difference, Site, difference_of, is_accepted
from ingressd.migration.faults import Judged, judge
from ingressd.migration.needs import services_of
from ingressd.migration.proposals import Proposal, together
from ingressd.migration.snippets import read_snippet
from ingressd.model.ingress import CLASS_ANNOTATION, Ingress
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet

SNIPPETS = frozenset({"auth-snippet", "configuration-snippet", "server-snippet"})
_ANY_HOST = "any.test"
"""In examples, for a rule without a host."""


class Verdict(StrEnum):
    """What is said of an Ingress."""

    SAME = "same"
    DIFFERS = "differs"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not supported."""

    subject: str
    why: str
    instead: str = ""
    proposals: tuple[Proposal, ...] = ()
    """Of a snippet."""
    problems: tuple[str, ...] = ()
    """What nginx would refuse of it."""

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {
            "subject": self.subject,
            "why": self.why,
            "instead": self.instead,
            "directives": [proposal.as_dict() for proposal in self.proposals],
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class Moved:
    """One Ingress."""

    ingress: str
    """`NAMESPACE/NAME`."""
    file: str
    line: int
    ingress_class: str
    hosts: tuple[str, ...]
    same: tuple[str, ...] = ()
    """Annotations that mean the same."""
    differences: tuple[Difference, ...] = ()
    unsupported: tuple[Missing, ...] = ()
    needs: tuple[str, ...] = ()
    """What the cluster did, and somebody has to do now."""
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst that is said of it."""
        if self.unsupported:
            return Verdict.UNSUPPORTED
        return Verdict.DIFFERS if self.differences else Verdict.SAME

    @property
    def paste(self) -> Mapping[str, Mapping[str, str]]:
        """Where -> annotations in place of its snippets."""
        return together(proposal for missing in self.unsupported for proposal in missing.proposals)

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {
            "ingress": self.ingress,
            "file": self.file,
            "line": self.line,
            "class": self.ingress_class,
            "hosts": list(self.hosts),
            "verdict": str(self.verdict),
            "same": list(self.same),
            "differences": [each.as_dict() for each in self.differences],
            "unsupported": [each.as_dict() for each in self.unsupported],
            "proposed": [{"where": where, "annotations": found} for where, found in self.paste.items()],
            "needs": list(self.needs),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, slots=True)
class Controllers:
    """A ConfigMap of the controller."""

    config_map: str
    """`NAMESPACE/NAME`."""
    file: str
    line: int
    entries: tuple[Entry, ...]

    @property
    def flags(self) -> list[str]:
        """What `ingressd run` is told."""
        return flags(self.entries)

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {
            "config_map": self.config_map,
            "file": self.file,
            "line": self.line,
            "flags": self.flags,
            "entries": [entry.as_dict() for entry in self.entries],
        }


class Unread(NamedTuple):
    """An Ingress that cannot be read, and why."""

    ingress: str
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    ingresses: tuple[Moved, ...]
    config_maps: tuple[Controllers, ...]
    unread: tuple[Unread, ...]
    not_objects: tuple[str, ...]
    """Faults of what is no object, so that nobody knows whether an Ingress is in it."""
    passed_over: tuple[str, ...]
    """Ingresses of other controllers."""
    everywhere: tuple[Difference, ...]

    def count(self, verdict: Verdict) -> int:
        """Ingresses of which that is said."""
        return sum(each.verdict is verdict for each in self.ingresses)

    @property
    def unsupported(self) -> bool:
        """Something in it is not supported, or cannot be read."""
        return bool(self.unread or self.not_objects) or self.count(Verdict.UNSUPPORTED) > 0

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {
            "ingresses": [each.as_dict() for each in self.ingresses],
            "config_maps": [each.as_dict() for each in self.config_maps],
            "unread": [{"ingress": each.ingress, "faults": list(each.faults)} for each in self.unread],
            "not_objects": list(self.not_objects),
            "passed_over": list(self.passed_over),
            "everywhere": [each.as_dict() for each in self.everywhere],
            "counts": {str(verdict): self.count(verdict) for verdict in Verdict} | {"unread": len(self.unread)},
        }


def report(resources: ResourceSet, options: CompileOptions, everywhere: tuple[Difference, ...]) -> Report:
    """What `resources` become. `everywhere`: what is different whatever an Ingress says."""
    controllers = {each.name: each.object.spec.controller for each in resources.classes}
    chosen = [each for each in resources.ingresses if _is_nginx(each, controllers)]
    served = {id(each): _served(each) for each in chosen}
    adapted = replace(resources, ingresses=tuple(served.get(id(each), each) for each in resources.ingresses))
    faults = compile_snapshot(adapted, {}, replace(options, nginx_class=True)).faults
    by_name: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        if fault.kind == "Ingress":
            by_name.setdefault((fault.namespace, fault.name), []).append(fault)
    known = {(each.namespace, each.name) for each in resources.ingresses}
    further = set(_further_canaries(chosen))
    return Report(
        tuple(
            _moved(
                each,
                judge(by_name.get((each.namespace, each.name), ()), (SEVERAL_CANARIES,) if id(each) in further else ()),
                resources,
                (*_class_needs(each, options, controllers),),
            )
            for each in chosen
        ),
        tuple(
            Controllers(
                f"{each.namespace}/{each.name}",
                each.file,
                each.position("metadata", "name").line,
                tuple(entries(each)),
            )
            for each in resources.config_maps.values()
            if is_controllers(each)
        ),
        tuple(
            Unread("/".join(name), tuple(str(fault) for fault in own if fault.severity is Severity.ERROR))
            for name, own in by_name.items()
            if name not in known
        ),
        tuple(str(fault) for fault in faults if fault.severity is Severity.ERROR and not fault.kind and fault.line),
        tuple(f"{each.namespace}/{each.name}" for each in resources.ingresses if id(each) not in served),
        everywhere,
    )


def _class_of(ingress: Resource[Ingress]) -> str:
    return ingress.object.spec.ingress_class_name or ingress.object.metadata.annotations.get(CLASS_ANNOTATION) or ""


def _is_nginx(ingress: Resource[Ingress], controllers: Mapping[str, str]) -> bool:
    """It is written for ingress-nginx, or for whoever takes it."""
    name = _class_of(ingress)
    if not name or NGINX in name or controllers.get(name) == NGINX_CONTROLLER:
        return True
    return any(key.startswith(PREFIXES) for key in ingress.object.metadata.annotations)


def _served(ingress: Resource[Ingress]) -> Resource[Ingress]:
    """The same, of a class that is served."""
    if not _class_of(ingress):
        return ingress
    spec = ingress.object.spec.model_copy(update={"ingress_class_name": NGINX})
    return Resource(ingress.object.model_copy(update={"spec": spec}), ingress.origin, ingress.inside)


def _further_canaries(ingresses: Iterable[Resource[Ingress]]) -> Iterator[int]:
    """Those that are not the first one of some path, by id."""
    known: set[tuple[str, str]] = set()
    for ingress in ingresses:
        if not canary_annotation(ingress):
            continue
        places = {
            (rule.host, path.path)
            for rule in ingress.object.spec.rules
            for path in (rule.http.paths if rule.http is not None else ())
        }
        if places & known:
            yield id(ingress)
        known |= places


def _moved(ingress: Resource[Ingress], judged: Judged, resources: ResourceSet, needs: tuple[str, ...]) -> Moved:
    annotations = dict(_annotations(ingress))
    site = _site(ingress, frozenset(name for name, _ in annotations.values()))
    differences = [*judged.differences]
    accepted: list[str] = []
    same: list[str] = []
    told = judged.subjects
    for key, (name, value) in annotations.items():
        if key in told:
            continue
        found = difference_of(name, key, value, site)
        if found is not None:
            differences.append(found)
        elif is_accepted(name):
            accepted.append(f"{key} is accepted, without effect")
        elif name in ANNOTATIONS:
            same.append(key)
    return Moved(
        ingress=f"{ingress.namespace}/{ingress.name}",
        file=ingress.file,
        line=ingress.position("metadata", "name").line,
        ingress_class=_class_of(ingress),
        hosts=tuple(dict.fromkeys(rule.host or "*" for rule in ingress.object.spec.rules)) or ("*",),
        same=tuple(same),
        differences=tuple(differences),
        unsupported=tuple(_missing(judged, annotations)),
        needs=(*needs, *judged.needs, *services_of(ingress, resources)),
        remarks=(*judged.remarks, *accepted),
    )


def _annotations(ingress: Resource[Ingress]) -> Iterator[tuple[str, tuple[str, str]]]:
    """As written -> name without prefix, value."""
    for key, value in ingress.object.metadata.annotations.items():
        if key.startswith(PREFIXES):
            yield key, (key.partition("/")[2], value)


def _missing(judged: Judged, annotations: Mapping[str, tuple[str, str]]) -> Iterator[Missing]:
    for subject, why, instead in judged.unsupported:
        name, value = annotations.get(subject, ("", ""))
        if name in SNIPPETS:
            reading = read_snippet(value, for_service=name == "auth-snippet")
            yield Missing(subject, why, instead, reading.proposals, reading.problems)
        else:
            yield Missing(subject, why, instead)


def _site(ingress: Resource[Ingress], names: frozenset[str]) -> Site:
    spec = ingress.object.spec
    rule = next(iter(spec.rules), None)
    host = ((rule and rule.host) or _ANY_HOST).replace("*", "any", 1)
    path = next((each.path for each in rule.http.paths), "/") if rule is not None and rule.http is not None else "/"
    listed = {name for tls in spec.tls for name in (tls.hosts or (host,))}
    return Site("https" if host in listed else "http", host, literal_text(path) or "/", names)


def _class_needs(ingress: Resource[Ingress], options: CompileOptions, controllers: Mapping[str, str]) -> Iterator[str]:
    name = _class_of(ingress)
    ours = name in ("", NGINX, options.ingress_class) or controllers.get(name) == NGINX_CONTROLLER
    if not ours:
        yield f"the class {name}: run with --ingress-class {name}, or write an IngressClass {name} of {CONTROLLER}"
    elif not options.nginx_class and name == NGINX:
        yield "the class nginx: run with --nginx-class"
