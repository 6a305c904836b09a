"""Hosts: what all Ingresses say about a host becomes its VirtualHost, whose routes are in their order of precedence.

In: Fragments in the total order of their Ingresses. Out: VirtualHosts, and the route of last resort. Of two rules that
take the same requests the first wins, and the other is named in a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ingressd.compile.kept import Kept
from ingressd.compile.made import PoolName
from ingressd.compile.options import CompileOptions
from ingressd.compile.rules import DEFAULT_LOC, Fragment, HostPart, Placed, Taken
from ingressd.errors import Fault, Severity
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.table.route import ANY_HOST, DEFAULT, EXACT, Route, VirtualHost


class Assembled(NamedTuple):
    """One host, and the parts that it was made of."""

    parts: list[HostPart]
    host: VirtualHost
    faults: tuple[Fault, ...]


def assemble(
    fragments: Iterable[Fragment],
    before: Mapping[str, VirtualHost],
    faults: list[Fault],
    kept: Kept[str, Assembled],
) -> dict[str, VirtualHost]:
    """The hosts; those that stayed the same are the very objects of `before`."""
    parts: dict[str, list[HostPart]] = {}
    for fragment in fragments:
        for part in fragment.hosts:
            parts.setdefault(part.host, []).append(part)
    hosts: dict[str, VirtualHost] = {}
    for name, own in parts.items():
        made = kept.before(name)
        if made is None or made.parts != own:
            made = _assembled(name, own)
        kept.keep(name, made)
        faults += made.faults
        known = before.get(name)
        hosts[name] = known if known is not None and (known is made.host or known == made.host) else made.host
    return hosts


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


def _assembled(name: str, parts: list[HostPart]) -> Assembled:
    faults: list[Fault] = []
    routes = sorted(
        _winners(name, parts, faults), key=lambda route: (route.path_type != EXACT, -len(route.path), route.path)
    )
    default = _default(name, parts, faults)
    return Assembled(parts, VirtualHost(name, tuple(routes), default, parts[0].tls), tuple(faults))


def _winners(name: str, parts: Sequence[HostPart], faults: list[Fault]) -> list[Route]:
    """Of the routes that take the same requests, one."""
    chosen: dict[Taken, tuple[Placed, Resource[Ingress]]] = {}
    for part in parts:
        for placed in part.placed:
            made = (placed, part.ingress)
            known = chosen.setdefault(placed.taken, made)
            if known is made:
                continue
            # `/foo/` and `/foo` take the same requests, and the longer one wins; else the first does.
            longer = len(placed.route.path) > len(known[0].route.path)
            (winner, winner_by), (loser, loser_by) = (made, known) if longer else (known, made)
            chosen[placed.taken] = (winner, winner_by)
            message = (
                f"{name or '*'}{loser.route.path} ({loser.route.path_type}) never gets a request:"
                f" {winner.route.path} ({winner.route.path_type}) of {winner_by.key}"
                f" at {winner_by.place(*winner.loc)} takes them all"
            )
            faults.append(_shadowed(loser_by, loser.loc, message))
    return [placed.route for placed, _ in chosen.values()]


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
    """--default-backend NAMESPACE/SERVICE:PORT; its form was checked when it was read."""
    written = options.default_backend
    if not written:
        return None, None
    namespace, _, rest = written.partition("/")
    service, _, port = rest.partition(":")
    name = PoolName(namespace, service, port)
    route = Route(
        id=f"--default-backend * / {DEFAULT}",
        host=ANY_HOST,
        path="/",
        path_type=DEFAULT,
        namespace=namespace,
        ingress="",
        pool=name.id,
        service=service,
        port=port,
        file="--default-backend",
        line=0,
    )
    return route, name
