"""Hosts: what all Ingresses say about a host becomes its VirtualHost, whose routes are in their order of precedence.

In: Fragments in the total order of their Ingresses. Out: VirtualHosts, and the route of last resort. Of two rules that
take the same requests the first wins, and the other is named in a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ingressd.compile.canaries import Need, Own, Place
from ingressd.compile.made import PoolName, operators_pool
from ingressd.compile.options import CompileOptions
from ingressd.compile.regex_paths import in_their_mode
from ingressd.compile.rules import DEFAULT_LOC, Fragment, HostPart, Taken
from ingressd.compile.series import Line
from ingressd.errors import Fault, Severity
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.routing.mixed_index import precedence
from ingressd.table.policy import RoutePolicy
from ingressd.table.route import ANY_HOST, DEFAULT, Route, VirtualHost


class Assembled(NamedTuple):
    """One host, and the parts that it was made of."""

    parts: list[HostPart]
    host: VirtualHost | None
    """None: there are only canaries."""
    faults: tuple[Fault, ...]
    needs: tuple[Need, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether there is anything to say of it."""
        return bool(self.faults or self.needs)


class HostMemory:
    """What the last run made, of the same options."""

    def __init__(self) -> None:
        self.fragments: tuple[Fragment, ...] = ()
        self.assembled: dict[str, Assembled] = {}
        """All hosts, in the order in which they come first."""
        self.telling: dict[str, Assembled] = {}
        """Those with faults or needs."""
        self.hosts: dict[str, VirtualHost] = {}
        """Those that are served."""
        self.known: tuple[Mapping[str, VirtualHost], ...] = ()
        """Hosts in which the objects of `hosts` have been looked for."""


def assemble(
    fragments: Line[Fragment],
    before: Mapping[str, VirtualHost],
    faults: list[Fault],
    memory: HostMemory,
    needs: list[Need],
    regex_scope: str,
) -> dict[str, VirtualHost]:
    """The hosts; those that stayed the same are the very objects of `before`. `needs`: what their canaries need."""
    edited = _edited(fragments, memory, regex_scope) if any(before is each for each in memory.known) else None
    if edited is None:
        memory.assembled = edited = _all(fragments.now, memory.assembled, regex_scope)
        memory.hosts = {}
    else:
        memory.assembled.update(edited)
    for name, made in edited.items():
        if made.host is not None:
            known = before.get(name)
            same = known is made.host or known == made.host
            memory.hosts[name] = known if known is not None and same else made.host
    if edited is memory.assembled or any(name in memory.telling or made.tells for name, made in edited.items()):
        memory.telling = {name: made for name, made in memory.assembled.items() if made.tells}
    memory.fragments = fragments.now
    for made in memory.telling.values():
        faults += made.faults
        needs += made.needs
    hosts = dict(memory.hosts)
    memory.known = (before, hosts)
    return hosts


def _all(fragments: Iterable[Fragment], known: Mapping[str, Assembled], regex_scope: str) -> dict[str, Assembled]:
    parts: dict[str, list[HostPart]] = {}
    for fragment in fragments:
        for part in fragment.hosts:
            parts.setdefault(part.host, []).append(part)
    assembled: dict[str, Assembled] = {}
    for name, own in parts.items():
        made = known.get(name)
        assembled[name] = _assembled(name, own, regex_scope) if made is None or made.parts != own else made
    return assembled


def _edited(fragments: Line[Fragment], memory: HostMemory, regex_scope: str) -> dict[str, Assembled] | None:
    """The hosts of which anything else is said than before; None = there may be other ones, or in another order."""
    now, before, where = fragments.since(memory.fragments)
    if where is None:
        return None
    new_of: dict[HostPart, HostPart] = {}
    for place in where:
        old, new = before[place].hosts, now[place].hosts
        if [part.host for part in old] != [part.host for part in new]:
            return None
        new_of.update(zip(old, new, strict=True))
    edited: dict[str, Assembled] = {}
    for name in {part.host for part in new_of}:
        known = memory.assembled[name]
        made = _assembled(name, [new_of.get(part, part) for part in known.parts], regex_scope)
        if (made.host is None) != (known.host is None):
            return None
        edited[name] = made
    return edited


def last_resort(
    fragments: Iterable[Fragment], options: CompileOptions, faults: list[Fault]
) -> tuple[Route | None, PoolName | None]:
    """What takes requests that no host takes: an Ingress for everything, else one with rules, else the setting.

    The pool is that of the setting, when it decides: no Ingress names it.
    """
    owners = [fragment for fragment in fragments if fragment.default is not None]
    # Sorting keeps the order of those that are alike.
    candidates = sorted(owners, key=lambda fragment: bool(fragment.ingress.object.spec.rules))
    if not candidates:
        return _operators_own(options)
    by = candidates[0].ingress
    message = f"unknown hosts go to the default backend of {by.key} ({by.place(*DEFAULT_LOC)}), not to this one"
    for fragment in candidates[1:]:
        ingress = fragment.ingress
        if ingress.object.spec.rules:
            faults.append(ingress.fault(Severity.INFO, "default_for_own_hosts", message, loc=DEFAULT_LOC))
        else:
            faults.append(_shadowed(ingress, DEFAULT_LOC, message))
    return candidates[0].default, None


def with_needs(fragments: Line[Fragment], needs: Sequence[Need]) -> Line[Fragment]:
    """The fragments, with the pools that their canaries need."""
    if not needs:
        return fragments
    wanted: dict[int, dict[PoolName, tuple[Loc, ...]]] = {}
    for need in needs:
        own = wanted.setdefault(id(need.ingress), {})
        own[need.pool] = tuple(dict.fromkeys((*own.get(need.pool, ()), need.loc)))
    return Line(
        tuple(
            replace(fragment, backends=wanted[id(fragment.ingress)]) if id(fragment.ingress) in wanted else fragment
            for fragment in fragments.now
        )
    )


def _assembled(name: str, said: list[HostPart], regex_scope: str) -> Assembled:
    faults: list[Fault] = []
    needs: list[Need] = []
    parts = in_their_mode(name, said, regex_scope, lambda parts: _virtual_host(name, parts, [], []), faults)
    host = _virtual_host(name, parts, needs, faults)
    served = any(part.canary is None for part in parts)
    return Assembled(said, host if served else None, tuple(faults), tuple(needs))


def _virtual_host(name: str, parts: list[HostPart], needs: list[Need], faults: list[Fault]) -> VirtualHost:
    places = _places(name, parts, faults)
    found = (place.route(needs, faults) for place in places)
    routes = sorted(
        (route for route in found if route is not None),
        key=precedence,
    )
    default = _default(name, parts, faults)
    return VirtualHost(name, tuple(routes), default, parts[0].tls)


def _places(name: str, parts: Sequence[HostPart], faults: list[Fault]) -> Iterable[Place]:
    """The routes by the requests that they take: of those that take them all, one wins."""
    places: dict[Taken, Place] = {}
    for part in parts:
        for placed in part.placed:
            place = places.setdefault(placed.taken, Place())
            own = Own(placed, part)
            if part.canary is not None:
                place.canaries.append(own)
            elif part.condition is not None:
                place.conditional.append(own)
            elif place.main is None:
                place.main = own
            else:
                # `/foo/` and `/foo` take the same requests, and the longer one wins; else the first does.
                longer = len(placed.route.path) > len(place.main.placed.route.path)
                place.main, loser = (own, place.main) if longer else (place.main, own)
                faults.append(_shadowed_rule(name, loser, place.main))
    return places.values()


def _shadowed_rule(name: str, loser: Own, winner: Own) -> Fault:
    lost, won, by = loser.placed.route, winner.placed.route, winner.part.ingress
    message = (
        f"{name or '*'}{lost.path} ({lost.path_type}) never gets a request: {won.path} ({won.path_type}) of {by.key}"
        f" at {by.place(*winner.placed.loc)} takes them all"
    )
    return _shadowed(loser.part.ingress, loser.placed.loc, message)


def _default(name: str, parts: Sequence[HostPart], faults: list[Fault]) -> Route | None:
    """That of the first Ingress which has one."""
    owners = [part for part in parts if part.default is not None]
    for part in owners[1:]:
        winner = owners[0].ingress
        whose = f"{winner.key} ({winner.place(*DEFAULT_LOC)})"
        message = f"the default backend of {name or 'all hosts'} is that of {whose} already"
        faults.append(_shadowed(part.ingress, DEFAULT_LOC, message))
    return owners[0].default if owners else None


def _shadowed(loser: Resource[Ingress], loc: Loc, message: str) -> Fault:
    hint = "remove one of them; the older Ingress wins, then namespace and name decide"
    return loser.fault(Severity.WARNING, "rule_shadowed", message, hint, loc)


def _operators_own(options: CompileOptions) -> tuple[Route | None, PoolName | None]:
    """The route of --default-backend, and its pool."""
    name = operators_pool(options.default_backend)
    if name is None:
        return None, None
    route = Route(
        id=f"--default-backend * / {DEFAULT}",
        host=ANY_HOST,
        path="/",
        path_type=DEFAULT,
        namespace=name.namespace,
        ingress="",
        pool=name.id,
        service=name.service,
        port=name.port,
        file="--default-backend",
        line=0,
        policy=RoutePolicy.of(options.limits),
    )
    return route, name
