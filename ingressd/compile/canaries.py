"""Canaries: of all that Ingresses say about one host and path, the route with its alternatives.

In: the Placed of one place: the one without a condition, those with one, those of canaries. Out: a Route, the pools
that its canaries need, faults. A canary does what its main Ingress does, at another Service.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ingressd.compile.made import PoolName
from ingressd.compile.rules import HostPart, Placed
from ingressd.errors import Fault, Severity
from ingressd.filters.session_cookie import SessionCookie, tag_of
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.routing.conditions import All, Canary, Decided, Share, Sticky
from ingressd.table.route import Alternative, Route


class Own(NamedTuple):
    """A Placed, and whose it is."""

    placed: Placed
    part: HostPart


class Need(NamedTuple):
    """A pool that a canary needs, and where it names it."""

    ingress: Resource[Ingress]
    pool: PoolName
    loc: Loc


@dataclass(slots=True)
class Place:
    """All rules that take the same requests of a host, in the total order of their Ingresses."""

    main: Own | None = None
    """The one that wins, of those that take every request."""
    conditional: list[Own] = field(default_factory=list)
    canaries: list[Own] = field(default_factory=list)

    def route(self, needs: list[Need], faults: list[Fault]) -> Route | None:
        """What the table gets; None when there are only canaries."""
        some = list(self._conditional(faults))
        if self.main is None:
            for placed, part in self.canaries:
                faults.append(_without_main(placed, part))
            if not some:
                return None
            first = some[0].route
            return replace(
                first,
                id=f"{first.host or '*'} {first.path} {first.path_type}",
                filters=(),
                response_filters=(),
                denied="",
                alternatives=tuple(some),
                conditional=True,
            )
        main = self.main.placed.route
        canaries: dict[str, Own] = {}
        for own in self.canaries:
            before = canaries.setdefault(own.placed.route.id, own)
            if before is not own:
                faults.append(_shadowed(own, before, " of a canary"))
        alternatives = (*some, *_canaries(self.main, [*canaries.values()], needs))
        return replace(main, alternatives=alternatives) if alternatives else main

    def _conditional(self, faults: list[Fault]) -> Iterator[Alternative]:
        """The more conditions, the earlier; then the total order."""
        known: dict[All, Own] = {}
        for own in self.conditional:
            condition = own.part.condition
            # One without any was not understood, which is said already: it takes nothing.
            if condition is not None and condition.conditions:
                before = known.setdefault(condition, own)
                if before is not own:
                    faults.append(_shadowed(own, before, f" with {condition}"))
        for condition, own in sorted(known.items(), key=lambda each: -len(each[0].conditions)):
            yield Alternative(condition, own.placed.route)


def _canaries(main: Own, canaries: Sequence[Own], needs: list[Need]) -> Iterator[Alternative]:
    """First what requests say, then the shares of chance."""
    made: list[tuple[Route, Canary]] = []
    for placed, part in canaries:
        canary = part.canary
        assert canary is not None
        wanted = replace(main.part.variant, scheduler=part.variant.scheduler)
        pool = placed.pool._replace(variant=wanted)
        needs += (Need(part.ingress, each, (*placed.loc, "backend")) for each in pool.with_twin)
        made.append((_route(main.placed.route, placed.route, pool), canary))
    session = _session(main.placed.route)
    tags = {route.id: tag_of(route.pool) for route in (main.placed.route, *(route for route, _ in made))}
    rules: list[tuple[Route, Decided]] = []
    for route, canary in made:
        sticky = None
        if session is not None and session.sticky:
            own = tags[route.id]
            sticky = Sticky(session.name, own, tuple(dict.fromkeys(tag for tag in tags.values() if tag != own)))
        rule = Decided(canary, sticky)
        rules.append((route, rule))
        if sticky is not None or canary.decides:
            yield Alternative(rule, route)
    before: list[Decided] = []
    for route, rule in rules:
        if rule.canary.weight:
            yield Alternative(Share(rule, tuple(before)), route)
            before.append(rule)


def _route(main: Route, own: Route, pool: PoolName) -> Route:
    """What the main route does, at the canary's Service; only how endpoints are chosen may be its own."""
    session = _session(main)
    if session is not None and session.sticky:
        choosing: tuple[object, ...] = (session,)
    else:
        choosing = tuple(each for each in own.filters if _balances(each))
    return replace(
        main,
        id=own.id,
        namespace=own.namespace,
        ingress=own.ingress,
        pool=pool.id,
        service=own.service,
        port=own.port,
        file=own.file,
        line=own.line,
        filters=(*(each for each in main.filters if not _balances(each)), *choosing),
        response_filters=(
            *(each for each in choosing if hasattr(each, "on_response")),
            *(each for each in main.response_filters if not _balances(each)),
        ),
    )


def _balances(each: object) -> bool:
    return getattr(each, "balances", False)


def _session(route: Route) -> SessionCookie | None:
    return next((each for each in route.filters if isinstance(each, SessionCookie)), None)


def _without_main(placed: Placed, part: HostPart) -> Fault:
    route = placed.route
    message = f"{route.host or '*'}{route.path} ({route.path_type}) is a canary of no Ingress: it gets no request"
    hint = "an Ingress that is no canary must have the same host, path and path type"
    return part.ingress.fault(Severity.WARNING, "canary_without_main", message, hint, placed.loc)


def _shadowed(loser: Own, winner: Own, what: str) -> Fault:
    route = loser.placed.route
    by = winner.part.ingress
    message = (
        f"{route.host or '*'}{route.path} ({route.path_type}){what} never gets a request:"
        f" {by.key} at {by.place(*winner.placed.loc)} takes the same ones"
    )
    hint = "remove one of them; the older Ingress wins, then namespace and name decide"
    return loser.part.ingress.fault(Severity.WARNING, "rule_shadowed", message, hint, loser.placed.loc)
