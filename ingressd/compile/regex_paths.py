"""Which paths of a host are regular expressions, and what they match.

In: what the Ingresses of a host say. Out: the same, with routes of the type Regex where a path is an expression. By
default that is for each Ingress to say; with `--regex-scope host` one Ingress decides for all, as in ingress-nginx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from ingressd.compile.expressions import regex_route, regex_taken
from ingressd.compile.rules import HostPart, Placed
from ingressd.errors import Fault, LocalReply, Severity
from ingressd.filters.path_regex import literal_text
from ingressd.http.path_text import encoded_path
from ingressd.http.target import canonicalise
from ingressd.model.ingress import Ingress, Path
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.routing.mixed_index import index_of
from ingressd.table.route import PREFIX, REGEX, Route, VirtualHost

HOST = "host"
"""See --regex-scope."""

MOST_TRIED = 200
"""Paths that are compared for an example."""


def in_their_mode(
    name: str,
    parts: list[HostPart],
    scope: str,
    make: Callable[[list[HostPart]], VirtualHost],
    faults: list[Fault],
) -> list[HostPart]:
    """The parts of a host as they are served. `make` is what the host becomes of parts."""
    asking = [part for part in parts if part.regex is not None]
    if not asking or len(asking) == len(parts):
        return parts
    if scope == HOST:
        return [_converted(part, faults) for part in parts]
    expressions = {placed.route.path for part in asking for placed in part.placed}
    served = [part if part.canary is None else _converted(part, faults, expressions) for part in parts]
    if any(part.regex is None and part.canary is None and part.placed for part in parts):
        fault = _difference(name, asking[0], make(served), make([_converted(part, []) for part in parts]))
        if fault is not None:
            faults.append(fault)
    return served


def _converted(part: HostPart, faults: list[Fault], only: set[str] | None = None) -> HostPart:
    """The part with expressions for its paths, or for those of `only`."""
    if part.regex is not None:
        return part
    return replace(part, placed=tuple(_as_regex(part, placed, faults, only) for placed in part.placed))


def _as_regex(part: HostPart, placed: Placed, faults: list[Fault], only: set[str] | None) -> Placed:
    path = _path_at(part.ingress, placed.loc)
    if path is None:
        return placed
    written = path.path or "/"
    if placed.route.path_type == REGEX or (only is not None and written not in only):
        return placed
    split = path.path_type == PREFIX
    route = regex_route(part.ingress, placed.route, written, placed.loc, split=split, faults=faults)
    return placed._replace(route=route, taken=regex_taken(written))


def _path_at(ingress: Resource[Ingress], loc: Loc) -> Path | None:
    """The path that a rule has there; None = an annotation made it."""
    if loc[:2] != ("spec", "rules"):
        return None
    http = ingress.object.spec.rules[int(loc[2])].http
    return None if http is None else http.paths[int(loc[5])]


def _difference(name: str, asking: HostPart, served: VirtualHost, in_nginx: VirtualHost) -> Fault | None:
    """A warning when the two ways lead some request to different places."""
    here, there = index_of(served), index_of(in_nginx)
    routes = (*served.routes, *in_nginx.routes)
    for path in islice(dict.fromkeys(_candidates(routes)), MOST_TRIED):
        ours, theirs = here.match(path), there.match(path)
        if _goal(ours) != _goal(theirs):
            url = f"http://{name.replace('*', 'any', 1) or 'any.test'}{path}"
            message = (
                f"{url} goes to {_shown(ours)}; ingress-nginx makes regular expressions of all paths of the host,"
                f" and sends it to {_shown(theirs)}"
            )
            hint = "nothing, if that is what you mean; with `--regex-scope host` it is as in ingress-nginx"
            return asking.ingress.fault(Severity.WARNING, "regex_scope", message, hint, asking.regex or ())
    return None


def _candidates(routes: Iterable[Route]) -> Iterator[str]:
    for route in routes:
        path = encoded_path(literal_text(route.path)) if route.path_type == REGEX else route.path
        for each in (path, path.rstrip("/") or "/", path.upper(), f"{path}BAR", f"{path.rstrip('/')}/x"):
            try:
                yield canonicalise(each)[0]
            except LocalReply:
                continue


def _goal(route: Route | None) -> tuple[str, ...]:
    return () if route is None else (route.namespace, route.ingress, route.service, route.port)


def _shown(route: Route | None) -> str:
    if route is None:
        return "no path of the host"
    return f"{route.service}:{route.port} of Ingress {route.namespace}/{route.ingress}"
