"""A parsed document becomes resources and faults.

In: a value of JSON's types with its Origin. Out: a Reading. One mistake costs one object: the other items of a List
are read all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from ingressd.errors import Fault, Severity
from ingressd.model.kinds import CLUSTER_SCOPED, KINDS, LIST, OLD_INGRESSES, QUIET, VERSIONS, Kind
from ingressd.model.origin import Origin
from ingressd.model.resource import Key, Resource, namespace_of
from ingressd.model.shape import Loc, Mistake, shape_mistakes, unknown_fields

KIND_IGNORED = "kind_ignored"
"""Code of the note about a kind that is not read: one for each kind is enough."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one document holds."""

    resources: tuple[Resource[Kind], ...] = ()
    broken: tuple[Key, ...] = ()
    """Objects that cannot be used as they are written; a name may be empty when it could not be read."""
    faults: tuple[Fault, ...] = ()


def read(value: Any, origin: Origin) -> Reading:
    """Read one document. An empty one is nothing, and no mistake."""
    if value is None:
        return Reading()
    resources: list[Resource[Kind]] = []
    broken: list[Key] = []
    faults: list[Fault] = []
    for item, inside in _items(value):
        reader = _ItemReader(item, origin, inside)
        resource = reader.read()
        faults += reader.faults
        if resource is not None:
            resources.append(resource)
        elif reader.broken is not None:
            broken.append(reader.broken)
    return Reading(tuple(resources), tuple(broken), tuple(faults))


def _items(value: Any) -> Iterator[tuple[Any, Loc]]:
    if isinstance(value, dict) and _is_list(value) and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            yield item, ("items", index)
    else:
        yield value, ()


def _is_list(value: Mapping[str, Any]) -> bool:
    """`v1 List`, and the lists that `kubectl get` never prints but the API returns (`IngressList`)."""
    kind = value.get("kind")
    return (value.get("apiVersion"), kind) == LIST or (isinstance(kind, str) and kind.removesuffix("List") in VERSIONS)


class _ItemReader:
    """Reads one object; says what is wrong with it in `faults`, and with `broken` that it cannot be used."""

    def __init__(self, item: Any, origin: Origin, inside: Loc) -> None:
        self._item = item
        self._origin = origin
        self._inside = inside
        self._key = Key("", "", "")
        self.faults: list[Fault] = []
        self.broken: Key | None = None

    def read(self) -> Resource[Kind] | None:
        item = self._item
        if not isinstance(item, dict):
            self._refuse("not_an_object", "this is no Kubernetes object", "it needs apiVersion, kind and metadata")
            return None
        version, kind = item.get("apiVersion"), item.get("kind")
        metadata = item.get("metadata")
        named = metadata if isinstance(metadata, dict) else {}
        name, namespace = named.get("name"), named.get("namespace")
        self._key = Key(
            kind if isinstance(kind, str) else "",
            namespace_of(str(kind), namespace if isinstance(namespace, str) else None),
            name if isinstance(name, str) else "",
        )
        if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
            missing = "kind" if isinstance(version, str) and version else "apiVersion"
            self._refuse("not_an_object", f"{missing} is missing: this is no Kubernetes object", _object_hint(item))
            return None
        shape = KINDS.get((version, kind))
        if shape is None:
            self._other(version, kind)
            return None
        return self._validated(shape)

    def _validated(self, shape: type[Kind]) -> Resource[Kind] | None:
        try:
            object_ = shape.model_validate(self._item)
        except ValidationError as error:
            self._refuse_all(shape_mistakes(error, self._item))
            self._warn(shape)
            return None
        if self._refuse_all(object_.mistakes()):
            self._warn(shape)
            return None
        self._warn(shape)
        return Resource(object_, self._origin, self._inside)

    def _warn(self, shape: type[Kind]) -> None:
        for mistake in unknown_fields(shape, self._item):
            self._fault(Severity.WARNING, mistake)
        metadata = self._item.get("metadata")
        if shape.__name__ in CLUSTER_SCOPED and isinstance(metadata, Mapping) and metadata.get("namespace"):
            loc = ("metadata", "namespace")
            self._fault(Severity.WARNING, Mistake(loc, "field_ignored", f"an {shape.__name__} is in no namespace"))

    def _other(self, version: str, kind: str) -> None:
        """Neither this version nor, perhaps, this kind is read."""
        if version in OLD_INGRESSES and kind == "Ingress":
            self._refuse(
                "api_version_old",
                f"{version} Ingress is gone since Kubernetes 1.22",
                f"write it as v1: {_as_v1(self._item)}",
                ("apiVersion",),
            )
        elif kind in VERSIONS:
            self._refuse(
                "api_version_unknown",
                f"{kind} of {version} is not read",
                f"write `apiVersion: {VERSIONS[kind]}`",
                ("apiVersion",),
            )
        elif (version, kind) not in QUIET:
            near = get_close_matches(kind, VERSIONS, n=1, cutoff=0.8)
            hint = f"did you mean {near[0]}?" if near else ""
            severity = Severity.WARNING if near else Severity.INFO
            note = Mistake(("kind",), KIND_IGNORED, f"{version} {kind} is not read by ingressd", hint)
            self._fault(severity, note)

    def _refuse(self, code: str, message: str, hint: str = "", loc: Loc = ()) -> None:
        self.broken = self._key
        self._fault(Severity.ERROR, Mistake(loc, code, message, hint))

    def _refuse_all(self, mistakes: Iterable[Mistake]) -> bool:
        for mistake in mistakes:
            self.broken = self._key
            self._fault(Severity.ERROR, mistake)
        return self.broken is not None

    def _fault(self, severity: Severity, mistake: Mistake) -> None:
        line, column = self._origin.position((*self._inside, *mistake.loc))
        self.faults.append(
            Fault(severity, mistake.code, *self._key, self._origin.file, line, column, mistake.message, mistake.hint)
        )


def _object_hint(item: Mapping[str, Any]) -> str:
    kind = item.get("kind")
    if isinstance(kind, str) and kind in VERSIONS:
        return f"write `apiVersion: {VERSIONS[kind]}`"
    return "it needs apiVersion, kind and metadata"


def _as_v1(item: Mapping[str, Any]) -> str:
    """A v1beta1 Ingress in its v1 form, on one line (JSON is YAML)."""
    spec = item.get("spec")
    converted = _converted("spec", spec) if isinstance(spec, dict) else {}
    if "backend" in converted:
        converted["defaultBackend"] = converted.pop("backend")
    return json.dumps({"apiVersion": VERSIONS["Ingress"], "spec": converted})


def _converted(key: str, value: Any) -> Any:
    if key == "backend":
        return _converted_backend(value)
    if isinstance(value, list):
        return [_converted("", item) for item in value]
    if not isinstance(value, dict):
        return value
    converted = {name: _converted(name, child) for name, child in value.items()}
    if "backend" in value and key != "spec":
        converted.setdefault("pathType", "Prefix")
        converted.setdefault("path", "/")
    return converted


def _converted_backend(value: Any) -> Any:
    if not isinstance(value, dict) or "serviceName" not in value:
        return value
    port = value.get("servicePort")
    return {"service": {"name": value["serviceName"], "port": {"name" if isinstance(port, str) else "number": port}}}
