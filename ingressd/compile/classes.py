"""Which Ingresses are served, in the order in which they come first.

In: Ingresses and IngressClasses. Out: those that are ours, the older first; a note for each that is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from ingressd.compile.options import CompileOptions
from ingressd.compile.series import Line, Series
from ingressd.errors import Fault, Severity
from ingressd.model.ingress import CLASS_ANNOTATION, Ingress
from ingressd.model.ingress_class import IngressClass
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.shape import Loc

CONTROLLER = "ingressd.dev/ingress-controller"
NGINX = "nginx"
NGINX_CONTROLLER = "k8s.io/ingress-nginx"

_UNNAMED: Loc = ("metadata", "name")
"""Where an Ingress that names no class is told about."""
_NEVER = "9999"
"""Files seldom have a creationTimestamp: what has none comes after what has one."""


Precedence = tuple[str, str, str, str, int]


class Judged(NamedTuple):
    """One Ingress, by itself and by the IngressClasses."""

    serves: bool
    precedence: Precedence
    faults: tuple[Fault, ...]


class ClassMemory:
    """What the last run found, of the same IngressClasses and options."""

    def __init__(self) -> None:
        self.judged: Series[Resource[Ingress], Judged] = Series()
        self.served: tuple[Resource[Ingress], ...] = ()
        self.place_of: dict[int, int] = {}
        """By the place among all Ingresses, the one among those that are served."""
        self.faults: tuple[Fault, ...] = ()


def served_ingresses(
    resources: ResourceSet, options: CompileOptions, faults: list[Fault], memory: ClassMemory
) -> Line[Resource[Ingress]]:
    """Ours, in the total order: creationTimestamp, namespace, name, file, line."""
    ingresses, classes = resources.ingresses, _Classes(resources.classes, options, faults)
    judged = memory.judged.of(Line.of(memory.judged.keys, ingresses), lambda ingress: _judged(ingress, classes))
    before = memory.served
    if judged.where is not None and all(judged.now[place] == judged.before[place] for place in judged.where):
        new_of = {memory.place_of[place]: ingresses[place] for place in judged.where if judged.now[place].serves}
        served = Line.edited(before, new_of)
    else:
        order = sorted((each.precedence, place) for place, each in enumerate(judged.now) if each.serves)
        memory.place_of = {place: number for number, (_, place) in enumerate(order)}
        memory.faults = tuple(chain.from_iterable(map(attrgetter("faults"), judged.now)))
        served = Line.of(before, tuple(ingresses[place] for _, place in order))
    memory.served = served.now
    faults += memory.faults
    return served


def _judged(ingress: Resource[Ingress], classes: _Classes) -> Judged:
    faults: list[Fault] = []
    serves = classes.serves(ingress, faults)
    return Judged(serves, _precedence(ingress), tuple(faults))


def _precedence(ingress: Resource[Ingress]) -> Precedence:
    created = ingress.object.metadata.creation_timestamp or _NEVER
    return created, ingress.namespace, ingress.name, ingress.file, ingress.origin.line


class _Classes:
    """The IngressClasses and the settings about them."""

    def __init__(self, classes: Iterable[Resource[IngressClass]], options: CompileOptions, faults: list[Fault]) -> None:
        self._options = options
        self._controllers = {resource.name: resource.object.spec.controller for resource in classes}
        self._default: str | None = None
        first: Resource[IngressClass] | None = None
        for resource in sorted(classes, key=lambda resource: resource.name):
            if not resource.object.is_default:
                continue
            if first is None:
                first = resource
                self._default = resource.name
                continue
            faults.append(
                resource.fault(
                    Severity.ERROR,
                    "class_two_defaults",
                    f"{first.name} ({first.place('metadata', 'name')}) is the default class already",
                    "only one IngressClass can be the default: remove the annotation from one of them",
                    ("metadata", "annotations"),
                )
            )

    def serves(self, ingress: Resource[Ingress], faults: list[Fault]) -> bool:
        """Whether it is ours; if not, say why."""
        name, loc = self._class_of(ingress)
        if name is None:
            if self._options.classless:
                return True
            ours = self._options.ingress_class
            why, hint = "it names no class", f"write `ingressClassName: {ours}`, or run with --classless"
        elif self._ours(name):
            return True
        elif name == NGINX or self._controllers.get(name) == NGINX_CONTROLLER:
            why, hint = f"it is of the class {name}", "run with --nginx-class to serve it"
        elif name in self._controllers:
            whose = "its class" if loc != _UNNAMED else "it names no class, and the default class"
            why, hint = f"{whose} {name} belongs to the controller {self._controllers[name]}", ""
        else:
            why, hint = f"its class {name} is not ours", f"ours is {self._options.ingress_class}"
        faults.append(ingress.fault(Severity.INFO, "class_skipped", f"{ingress.key} is not served: {why}", hint, loc))
        return False

    def _class_of(self, ingress: Resource[Ingress]) -> tuple[str | None, Loc]:
        """The class, and where it is written."""
        if ingress.object.spec.ingress_class_name is not None:
            return ingress.object.spec.ingress_class_name, ("spec", "ingressClassName")
        legacy = ingress.object.metadata.annotations.get(CLASS_ANNOTATION)
        if legacy:
            return legacy, ("metadata", "annotations", CLASS_ANNOTATION)
        return self._default, _UNNAMED

    def _ours(self, name: str) -> bool:
        if name == self._options.ingress_class or self._controllers.get(name) == CONTROLLER:
            return True
        nginx = name == NGINX or self._controllers.get(name) == NGINX_CONTROLLER
        return nginx and self._options.nginx_class
