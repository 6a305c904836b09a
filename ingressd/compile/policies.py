"""Policies: the annotations of an Ingress become the filters of its routes.

In: annotations as written. Out: parsed values by name, and why requests must be denied, if they must. An annotation
that guards a route and cannot be honoured closes it: 503 policy_invalid, never open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from ingressd.compile.made import PoolName
from ingressd.compile.options import CompileOptions
from ingressd.compile.references import References
from ingressd.errors import Fault, Severity
from ingressd.filters import proxy_ssl
from ingressd.filters.base import Filter, FilterSpec, Site, Unusable
from ingressd.filters.canary import CANARY_READS
from ingressd.filters.header_values import headers
from ingressd.filters.partly import Partly
from ingressd.filters.registry import ANNOTATIONS, CHAIN, SPEC_OF
from ingressd.filters.ssl_redirect import HTTPS_PORT, STATUS, SslRedirect
from ingressd.filters.unsupported import GUARDS, LEFT_OUT
from ingressd.filters.values import boolean
from ingressd.model.ingress import CLASS_ANNOTATION, Ingress
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.table.policy import DEFAULT_POLICY, READ_TIMEOUT, RoutePolicy
from ingressd.table.pool_variant import PLAIN, PoolVariant

OURS = "ingressd.dev/"
NGINX = "nginx.ingress.kubernetes.io/"
PREFIXES = (OURS, NGINX)
"""Both mean the same; the first wins when both are set."""
NGINX_CLASS = "nginx"

NGINX_BODY_BYTES = 1024 * 1024
"""nginx's client_max_body_size, which holds for Ingresses that were written for ingress-nginx."""


class Chain(NamedTuple):
    """What a route does to its requests and responses."""

    filters: tuple[Filter, ...]
    response_filters: tuple[Filter, ...]
    denied: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What the annotations of one Ingress say."""

    ingress: Resource[Ingress]
    values: Mapping[str, Any]
    """By name without prefix."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Name without prefix -> as it is written."""
    denied: str = ""
    nginx: bool = False
    """It was written for ingress-nginx."""
    of_routes: RoutePolicy = DEFAULT_POLICY
    variant: PoolVariant = PLAIN
    canary: bool = False
    """It takes a part of the requests of another Ingress."""
    redirect_status: int = STATUS
    """Of redirects to HTTPS."""
    unread: frozenset[str] = frozenset()
    """Annotations, by name without prefix, whose values are not understood."""

    @property
    def lost(self) -> bool:
        """Nobody knows which requests it should take."""
        return any(_selects(name) for name in self.unread)

    @property
    def specs(self) -> tuple[FilterSpec, ...]:
        """Those that have something to say, in the order of the chain."""
        wanted = {id(SPEC_OF[name]) for name in self.values}
        return tuple(spec for spec in CHAIN if spec.always or id(spec) in wanted)

    @property
    def by_path(self) -> bool:
        """Whether routes of one host may have chains that differ."""
        return any(spec.by_path for spec in self.specs)

    def tls_fault(self, pool: PoolName, references: References) -> Fault | None:
        """A warning when proxy-ssl-* is for endpoints that no TLS is spoken to."""
        variant = self.variant
        if variant.tls is None or variant.protocol or references.speaks_tls(pool):
            return None
        key = self.key_of(next(each.name for each in proxy_ssl.SPEC.annotations if each.name in self.values))
        message = f"{key}: it has no effect, because no TLS is spoken to Service {pool.namespace}/{pool.service}"
        hint = "set backend-protocol: HTTPS, or appProtocol: https at the port of the Service"
        return _fault(self.ingress, Severity.WARNING, "annotation_differs", key, message, hint)

    def key_of(self, name: str) -> str:
        """The annotation as it is written."""
        return self.keys.get(name, f"{OURS}{name}")

    def loc_of(self, name: str) -> Loc:
        """Where it is written."""
        return ("metadata", "annotations", self.key_of(name))

    def chain(self, site: Site, faults: list[Fault]) -> Chain:
        """The chain of a route at `site`."""
        built: list[Filter] = []
        denied = ""
        for spec in self.specs:
            try:
                made = spec.build(self.values, site)
            except Unusable as problem:
                denied = _unusable(self.ingress, self.key_of(problem.annotation), problem, faults) or denied
                continue
            if isinstance(made, SslRedirect):
                made = replace(made, status=self.redirect_status)
            if made is not None:
                built.append(made)
            # One that takes nothing until it is corrected is not explained further.
            for remark in () if self.lost else spec.remarks(self.values, site):
                key = self.key_of(remark.annotation)
                message = f"{key}: {remark}"
                faults.append(_fault(self.ingress, Severity.WARNING, "annotation_differs", key, message, remark.hint))
        return Chain(
            tuple(each for each in built if hasattr(each, "on_request")),
            tuple(each for each in built if hasattr(each, "on_response")),
            denied,
        )


def read_policy(
    ingress: Resource[Ingress], options: CompileOptions, references: References, faults: list[Fault]
) -> Policy:
    """Parse the annotations of an Ingress; what is wrong with them goes to `faults`."""
    values: dict[str, Any] = {}
    keys: dict[str, str] = {}
    unread: set[str] = set()
    passed_over: list[str] = []
    denied = ""
    prefixes = (NGINX, *((f"{options.annotations_prefix}/",) if options.annotations_prefix else ()), OURS)
    annotations = ingress.object.metadata.annotations
    canary = bool(canary_annotation(ingress, prefixes))
    # The prefix that wins comes last.
    for prefix in prefixes:
        for key, text in annotations.items():
            if not key.startswith(prefix):
                continue
            name = key.removeprefix(prefix)
            annotation = ANNOTATIONS.get(name)
            if canary and name not in CANARY_READS and (annotation or name in GUARDS or name in LEFT_OUT):
                passed_over.append(key)
                continue
            if annotation is not None and not (annotation.native and prefix == NGINX):
                try:
                    # Blanks around a value mean nothing, as in ingress-nginx; but fields that end in a line break are
                    # lines, where a semicolon ends nothing.
                    bare = text if annotation.parse is headers else text.strip()
                    values[name], keys[name] = annotation.parse(bare), key
                except ValueError as problem:
                    message = f'{key}: "{text}" must be {problem}'
                    if annotation.guard:
                        denied = denied or f"{key} is invalid: the route is closed rather than left open"
                        message += "; until then its routes answer 503"
                    elif annotation.selects:
                        message += "; until then it takes no request"
                    elif isinstance(problem, Partly):
                        values[name], keys[name] = problem.value, key
                        message += f"; until then {problem.meanwhile}"
                    else:
                        message += "; it is left out"
                    unread.add(name)
                    faults.append(_fault(ingress, Severity.ERROR, "annotation_invalid", key, message))
            else:
                near = _nearest(name)
                if near and _selects(near):
                    unread.add(near)
                denied = _unread(ingress, prefix, name, near, faults) or denied
    if passed_over:
        message = f"a canary leaves this to the Ingress that it belongs to: {', '.join(sorted(passed_over))}"
        faults.append(_fault(ingress, Severity.INFO, "canary_annotation_ignored", passed_over[0], message))
    nginx = (
        ingress.object.spec.ingress_class_name == NGINX_CLASS
        or annotations.get(CLASS_ANNOTATION) == NGINX_CLASS
        or any(key.startswith(NGINX) for key in annotations)
    )
    policy, variant = _base_policy(options, nginx=nginx), PLAIN
    for spec in dict.fromkeys(SPEC_OF[name] for name in values):
        try:
            policy = spec.refine(values, policy)
            variant = spec.vary(values, references, variant)
        except Unusable as problem:
            key = keys.get(problem.annotation, problem.annotation)
            denied = _unusable(ingress, key, problem, faults) or denied
    unread -= values.keys()
    return Policy(
        ingress, values, keys, denied, nginx, policy, variant, canary, options.redirect_status, frozenset(unread)
    )


def _base_policy(options: CompileOptions, *, nginx: bool) -> RoutePolicy:
    policy = RoutePolicy.of(options.limits)
    if not nginx:
        return policy
    return replace(
        policy,
        request_body_bytes=policy.request_body_bytes or NGINX_BODY_BYTES,
        retry_on=policy.retry_on | {READ_TIMEOUT},
    )


def _unusable(ingress: Resource[Ingress], key: str, problem: Unusable, faults: list[Fault]) -> str:
    """Tell of it. Returns why the route must be closed, if it must."""
    guard = ANNOTATIONS[problem.annotation].guard
    message = f"{key}: {problem}" + ("; until then its routes answer 503" if guard else "; it is left out")
    faults.append(_fault(ingress, Severity.ERROR, "annotation_unusable", key, message, problem.hint))
    return f"{key}: {problem}" if guard else ""


def _nearest(name: str) -> str:
    """The annotation that may be meant; empty = none is like it."""
    if name in GUARDS or name in LEFT_OUT:
        return ""
    near = get_close_matches(name, [*ANNOTATIONS, *GUARDS, *LEFT_OUT], n=1)
    return near[0] if near else ""


def _unread(ingress: Resource[Ingress], prefix: str, name: str, near: str, faults: list[Fault]) -> str:
    """Tell of an annotation that nothing reads. Returns why the route must be closed, if it must."""
    key = f"{prefix}{name}"
    if name in GUARDS:
        message = f"{key} is not supported: this Ingress answers 503 rather than being open to everybody"
        faults.append(_fault(ingress, Severity.ERROR, "annotation_guard_unsupported", key, message, GUARDS[name]))
        return f"{key} is not supported: the route is closed rather than left open"
    if name in LEFT_OUT:
        message = f"{key} is not supported: it is left out"
        faults.append(_fault(ingress, Severity.WARNING, "annotation_unsupported", key, message, LEFT_OUT[name]))
        return ""
    native = near in ANNOTATIONS and ANNOTATIONS[near].native
    hint = f"did you mean {OURS if native else prefix}{near}?" if near else "remove it"
    if near and _guards(near):
        message = (
            f"{key}: there is no such annotation, but one like it guards a route; until then its routes answer 503"
        )
        faults.append(_fault(ingress, Severity.ERROR, "annotation_guard_unknown", key, message, hint))
        return f"{key} is unknown, {near} may be meant: the route is closed rather than left open"
    message, severity = f"{key}: there is no such annotation", Severity.WARNING
    if near and _selects(near):
        severity = Severity.ERROR
        message += ", but one like it says which requests the Ingress takes; until then it takes none"
    faults.append(_fault(ingress, severity, "annotation_unknown", key, message, hint))
    return ""


def _guards(name: str) -> bool:
    """Whether an annotation keeps somebody out."""
    return name in GUARDS or (name in ANNOTATIONS and ANNOTATIONS[name].guard)


def _selects(name: str) -> bool:
    """Whether an annotation says which requests an Ingress takes."""
    return name in ANNOTATIONS and ANNOTATIONS[name].selects


def canary_annotation(ingress: Resource[Ingress], prefixes: Sequence[str] = (NGINX, OURS)) -> str:
    """The annotation that makes it a canary of another Ingress; empty = it is none.

    Of several prefixes, the last one whose value says something counts.
    """
    found = ""
    for prefix in prefixes:
        key = f"{prefix}canary"
        with suppress(ValueError, KeyError):
            found = key if boolean(ingress.object.metadata.annotations[key].strip()) else ""
    return found


def site_of(host: str, *, tls: bool, options: CompileOptions) -> Site:
    """Where the filters of a host's routes work."""
    # Without a port of ours, HTTPS ends in front of us, where clients expect it.
    port = options.https_redirect_port or options.https_port or HTTPS_PORT
    return Site(
        host,
        tls,
        options.https_port is not None,
        port,
        limit_status=options.limit_status,
        allowed_response_headers=frozenset(name.lower() for name in options.allowed_response_headers),
    )


def _fault(ingress: Resource[Ingress], severity: Severity, code: str, key: str, message: str, hint: str = "") -> Fault:
    return ingress.fault(severity, code, message, hint, ("metadata", "annotations", key))
