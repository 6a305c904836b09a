"""Trace: what a lookup looked at, what won and what lost, in words.

In: notes of routing/table.py and the indexes while they match. Out: frozen data for `ingressd explain` and
/api/v1/explain. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ingressd.routing.paths import why_not
from ingressd.table.route import ANY_HOST, DEFAULT, EXACT, REGEX, Route, VirtualHost


class Outcome(StrEnum):
    """What became of a candidate."""

    WON = "won"
    LOST = "lost"
    """It would take the request, but another one comes first."""
    MISSED = "missed"
    """It does not take the request."""


@dataclass(frozen=True, slots=True)
class HostCandidate:
    """One host of the table that was asked for. `name` is what rules write; all hosts are `*`."""

    name: str
    outcome: Outcome
    why: str

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PathCandidate:
    """One route of the chosen host, or a default backend."""

    route: Route
    outcome: Outcome
    why: str

    def as_dict(self) -> dict[str, Any]:
        """JSON shape: the route by its id and its place in the manifests."""
        route = self.route
        return {
            "route": route.id,
            "path": route.path,
            "path_type": route.path_type,
            "ingress": f"{route.namespace}/{route.ingress}",
            "service": route.service,
            "port": route.port,
            "file": route.file,
            "line": route.line,
            "outcome": self.outcome,
            "why": self.why,
        }


class Trace:
    """Filled by one lookup."""

    def __init__(self) -> None:
        self.hosts: list[HostCandidate] = []
        self.winner: Route | None = None
        self._host: VirtualHost | None = None
        self._path = ""
        self._taking: list[Route] = []
        self._defaults: list[Route] = []

    # Notes of the lookup, in the order of its steps.

    def host(self, name: str, found: bool, why: str) -> None:
        """`name` was looked up."""
        outcome = Outcome.MISSED if not found else Outcome.LOST if self._chosen else Outcome.WON
        self.hosts.append(HostCandidate(shown_host(name), outcome, why))

    def paths_of(self, host: VirtualHost, path: str) -> None:
        """The paths of `host` are looked up now."""
        self._host = host
        self._path = path

    def takes(self, route: Route) -> None:
        """A route that takes the path, the winner first."""
        self._taking.append(route)

    def defaults(self, own: Route | None, last: Route | None) -> None:
        """The default backends of the chosen host and of all hosts, which would take what is left over."""
        self._defaults = [route for route in (own, last if last != own else None) if route is not None]

    # What came of it.

    def takers(self) -> list[Route]:
        """The routes that take the path, the first one first, and the default backends."""
        return [*self._taking, *self._defaults]

    def candidates(self) -> tuple[PathCandidate, ...]:
        """Every route of the chosen host in its order of precedence, then the default backends."""
        return tuple(self._candidates())

    @property
    def _chosen(self) -> bool:
        return any(candidate.outcome is Outcome.WON for candidate in self.hosts)

    def _candidates(self) -> Iterator[PathCandidate]:
        winner = self.winner
        taking = {route.id for route in self._taking}
        for route in self._host.routes if self._host is not None else ():
            yield from self._alternatives(route, takes=route.id in taking)
            if route.conditional:
                continue
            if route is winner:
                yield PathCandidate(route, Outcome.WON, _why_won(route, self._path))
            elif route.id in taking and winner is not None:
                yield PathCandidate(route, Outcome.LOST, _why_lost(route, winner))
            else:
                yield PathCandidate(route, Outcome.MISSED, why_not(route, self._path))
        for route in self._defaults:
            if route is winner:
                yield PathCandidate(route, Outcome.WON, "no path takes the request: the default backend does")
            elif winner is not None and winner.path_type == DEFAULT:
                yield PathCandidate(
                    route, Outcome.LOST, "the default backend of the host comes before that of all hosts"
                )
            else:
                yield PathCandidate(route, Outcome.LOST, "default backends take only what no path takes")

    def _alternatives(self, route: Route, *, takes: bool) -> Iterator[PathCandidate]:
        """Those of `route`, which `takes` the path or does not."""
        conditions: dict[str, list[str]] = {}
        for alternative in route.alternatives:
            conditions.setdefault(alternative.route.id, []).append(str(alternative.condition))
        for each in route.each():
            words = " or ".join(conditions.get(each.id, ()))
            if not words:
                continue
            if not takes:
                yield PathCandidate(each, Outcome.MISSED, why_not(route, self._path))
            elif each is self.winner:
                yield PathCandidate(each, Outcome.WON, f"the request is one that it takes: {words}")
            else:
                yield PathCandidate(each, Outcome.LOST, f"it takes only requests with {words}")


def shown_host(name: str) -> str:
    """A host as people are shown it: ANY_HOST is `*`."""
    return "*" if name == ANY_HOST else name


def _why_won(route: Route, path: str) -> str:
    if route.path_type == EXACT:
        return f"Exact {route.path} is the very path, and Exact comes before every Prefix"
    if route.path_type == REGEX:
        return f"the regular expression ^{route.path} is the longest that takes {path}"
    if route.path == "/":
        return "Prefix / takes every path, and nothing longer takes this one"
    return f"Prefix {route.path} is the longest that takes {path}"


def _why_lost(route: Route, winner: Route) -> str:
    if any(alternative.route is winner for alternative in route.alternatives):
        return f"the request is one of those that Ingress {winner.namespace}/{winner.ingress} takes at this path"
    if winner.path_type == EXACT:
        return f"Exact {winner.path} comes before every Prefix"
    if REGEX in (winner.path_type, route.path_type):
        return f"{winner.path_type} {winner.path} comes first: the longest path as it is written wins"
    return f"Prefix {winner.path} is longer, and the longest path wins"
