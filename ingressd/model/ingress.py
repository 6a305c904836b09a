"""Ingress (networking.k8s.io/v1): fields, and the rules of its API validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingressd.model import names
from ingressd.model.metadata import Metadata
from ingressd.model.shape import Items, Loc, Mistake, Shape, invalid, required, shown, unsupported

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
"""What named the class before spec.ingressClassName."""

PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")
_FORBIDDEN = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_ENDS = ("/..", "/.")


class BackendPort(Shape):
    """The port of a Service, by name or by number."""

    name: str = ""
    number: int = 0

    def mistakes(self, loc: Loc) -> Iterator[Mistake]:
        """Exactly one of the two."""
        if self.name and self.number:
            yield Mistake(loc, "field_invalid", f"{shown(loc)}: name and number are both set", "keep one of them")
        elif self.name:
            if rule := names.port_name(self.name):
                yield invalid((*loc, "name"), self.name, rule)
        elif not self.number:
            yield required(loc, "needs a number or a name", "write `port: {number: 80}`")
        elif not 1 <= self.number <= 65535:
            yield invalid((*loc, "number"), self.number, "from 1 to 65535")


class BackendService(Shape):
    """A Service in the Ingress's own namespace."""

    name: str
    port: BackendPort | None = None


class TypedReference(Shape):
    """An object of any kind in the same namespace."""

    api_group: str | None = None
    kind: str
    name: str


class Backend(Shape):
    """Where requests go: exactly one of the two."""

    service: BackendService | None = None
    resource: TypedReference | None = None

    def mistakes(self, loc: Loc) -> Iterator[Mistake]:
        """Rules of validateIngressBackend."""
        service, resource = self.service, self.resource
        if service is None and resource is None:
            yield required(loc, "needs a service or a resource", "write `service: {name: web, port: {number: 80}}`")
        elif service is not None and resource is not None:
            yield Mistake(loc, "field_invalid", f"{shown(loc)}: service and resource are both set", "keep one of them")
        elif service is not None:
            inside = (*loc, "service")
            if not service.name:
                yield required((*inside, "name"))
            elif rule := names.service_name(service.name):
                yield invalid((*inside, "name"), service.name, rule)
            if service.port is None:
                yield required((*inside, "port"), hint="write `port: {number: 80}`")
            else:
                yield from service.port.mistakes((*inside, "port"))
        elif resource is not None:
            for field in ("kind", "name"):
                if not getattr(resource, field):
                    yield required((*loc, "resource", field))


class Path(Shape):
    """One path of a rule."""

    path: str = ""
    path_type: str | None = None
    backend: Backend

    def mistakes(self, loc: Loc) -> Iterator[Mistake]:
        """Rules of validateHTTPIngressPath."""
        path, where = self.path, (*loc, "path")
        if self.path_type is None:
            yield required((*loc, "pathType"), hint="write `pathType: Prefix`")
        elif self.path_type not in PATH_TYPES:
            yield unsupported((*loc, "pathType"), self.path_type, PATH_TYPES)
        elif self.path_type == "ImplementationSpecific":
            if path and not path.startswith("/"):
                yield invalid(where, path, "an absolute path", f"write `path: /{path}`")
        elif not path.startswith("/"):
            yield invalid(where, path, "an absolute path", f"write `path: /{path}`")
        else:
            for part in _FORBIDDEN:
                if part in path:
                    yield invalid(where, path, f"without `{part}`")
            for end in _FORBIDDEN_ENDS:
                if path.endswith(end):
                    yield invalid(where, path, f"a path that does not end with `{end}`")
        yield from self.backend.mistakes((*loc, "backend"))


class Http(Shape):
    """The paths of a rule."""

    paths: Items[Path]


class Rule(Shape):
    """One host with its paths. Without `http`, the default backend takes all of the host."""

    host: str = ""
    http: Http | None = None


class Tls(Shape):
    """Hosts that are served by HTTPS, and the Secret with their certificate."""

    hosts: Items[str] = ()
    secret_name: str = ""


class IngressSpec(Shape):
    """See the fields."""

    ingress_class_name: str | None = None
    default_backend: Backend | None = None
    tls: Items[Tls] = ()
    rules: Items[Rule] = ()


class Ingress(Shape):
    """networking.k8s.io/v1 Ingress."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: IngressSpec
    status: Any = None

    def mistakes(self) -> Iterator[Mistake]:
        """Rules of ValidateIngressCreate (kubernetes pkg/apis/networking/validation)."""
        yield from self.metadata.mistakes()
        spec = self.spec
        legacy = self.metadata.annotations.get(CLASS_ANNOTATION)
        if spec.ingress_class_name is not None:
            loc: Loc = ("spec", "ingressClassName")
            if rule := names.subdomain(spec.ingress_class_name):
                yield invalid(loc, spec.ingress_class_name, rule)
            if legacy is not None and legacy != spec.ingress_class_name:
                yield invalid(loc, spec.ingress_class_name, f"the same as the annotation {CLASS_ANNOTATION}, {legacy}")
        if not spec.rules and spec.default_backend is None:
            yield required(("spec",), "needs rules or a defaultBackend")
        if spec.default_backend is not None:
            yield from spec.default_backend.mistakes(("spec", "defaultBackend"))
        for index, tls in enumerate(spec.tls):
            yield from _tls_mistakes(tls, ("spec", "tls", index))
        for index, rule_ in enumerate(spec.rules):
            yield from _rule_mistakes(rule_, ("spec", "rules", index))


def _tls_mistakes(tls: Tls, loc: Loc) -> Iterator[Mistake]:
    for index, host in enumerate(tls.hosts):
        if rule := names.host(host):
            yield invalid((*loc, "hosts", index), host, rule)
    if tls.secret_name and (rule := names.subdomain(tls.secret_name)):
        yield invalid((*loc, "secretName"), tls.secret_name, rule)


def _rule_mistakes(rule: Rule, loc: Loc) -> Iterator[Mistake]:
    if rule.host and (must_be := names.host(rule.host)):
        yield invalid((*loc, "host"), rule.host, must_be, _host_hint(rule.host))
    if rule.http is not None:
        inside = (*loc, "http", "paths")
        if not rule.http.paths:
            yield required(inside, "needs at least one path")
        for index, path in enumerate(rule.http.paths):
            yield from path.mistakes((*inside, index))


def _host_hint(host: str) -> str:
    if host == "*":
        return "leave host out: the rule then takes every host"
    lower = host.lower()
    return f"write `host: {lower}`" if lower != host and not names.host(lower) else ""
