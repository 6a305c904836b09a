"""Backends: the Pools that routes and listeners name, each made once however many do; and what is wrong with that.

In: Fragments, and the name that the operator gave. Out: Pools, the questions for discovery, faults where a backend is
written. What a Pool is made of is for pools.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ingressd.compile.kept import Kept
from ingressd.compile.made import BACKEND_RESOURCE, SERVICE_MISSING, Made, PoolName, Refusal
from ingressd.compile.pools import APP_PROTOCOL_UNSUPPORTED, PoolMaker
from ingressd.compile.rules import Fragment
from ingressd.compile.service_names import NEAR_NAMES, ServiceNames
from ingressd.discovery.base import Query
from ingressd.errors import Fault, Severity
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource
from ingressd.table.pool import Pool

OPERATOR = "--default-backend"
"""Where a backend is written that no Ingress names."""


class _Told(NamedTuple):
    """What was said to an Ingress about a backend that it names."""

    refusal: Refusal
    hint: str
    faults: tuple[Fault, ...]


@dataclass(slots=True)
class Backends:
    """What routes and listeners need."""

    pools: dict[str, Pool] = field(default_factory=dict)
    asked: dict[str, tuple[Query, ...]] = field(default_factory=dict)
    """Pool id -> the questions whose answers are its endpoints."""


class BackendMemory:
    """What the last run made, of the same options."""

    def __init__(self) -> None:
        self.made: Kept[PoolName, Made] = Kept()
        self.told: Kept[tuple[Resource[Ingress], PoolName], _Told] = Kept()
        self.names = ServiceNames()

    def turn(self) -> None:
        """A run begins."""
        self.made.turn()
        self.told.turn()


def compile_backends(
    fragments: Collection[Fragment],
    operators_own: PoolName | None,
    streams: Iterable[PoolName],
    maker: PoolMaker,
    services: Collection[tuple[str, str]],
    faults: list[Fault],
    memory: BackendMemory,
) -> Backends:
    """A Pool for each name, in the order in which they come first. `services`: the names of all.

    `streams` are those that listeners of Services need.
    """
    wanted: dict[PoolName, object] = {}
    for fragment in fragments:
        wanted.update(fragment.backends)
    if operators_own is not None:
        wanted.setdefault(operators_own)
    at_layer_7 = set(wanted)
    wanted.update(dict.fromkeys(name for name in streams if name not in at_layer_7))
    backends = Backends()
    refused: dict[PoolName, Refusal] = {}
    told: list[Fault] = []
    for name in wanted:
        made = memory.made.before(name)
        if made is None or not maker.holds(name, made):
            made = maker.make(name)
        memory.made.keep(name, made)
        backends.pools[made.pool.id] = made.pool
        told += (each for each in made.faults if name in at_layer_7 or each.code != APP_PROTOCOL_UNSUPPORTED)
        if made.queries:
            backends.asked[made.pool.id] = made.queries
        if made.refusal is not None:
            refused[name] = made.refusal
    # Two pools of a Service know of the same mistakes.
    faults += dict.fromkeys(told)
    if refused:
        hints = _Hints(refused, services, memory)
        faults += _ingress_faults(fragments, refused, hints, memory)
        if operators_own in refused:
            refusal, hint = refused[operators_own], hints.of(operators_own, by_ingress=False)
            faults.append(Fault(Severity.ERROR, refusal.code, "", "", "", OPERATOR, 0, 0, refusal.problem, hint))
    return backends


class _Hints:
    """What to do about the Services that are missing."""

    def __init__(
        self, refused: Mapping[PoolName, Refusal], services: Collection[tuple[str, str]], memory: BackendMemory
    ) -> None:
        if not memory.names.are(services):
            memory.names = ServiceNames(services)
        self._names = memory.names
        missing = (name for name, refusal in refused.items() if refusal.code == SERVICE_MISSING)
        self._near = {name: index < NEAR_NAMES for index, name in enumerate(missing)}

    def of(self, name: PoolName, *, by_ingress: bool) -> str:
        near = self._near.get(name)
        if near is None:
            return ""
        return self._names.hint(name.namespace, name.service, by_ingress=by_ingress, near=near)


def _ingress_faults(
    fragments: Iterable[Fragment], refused: Mapping[PoolName, Refusal], hints: _Hints, memory: BackendMemory
) -> Iterator[Fault]:
    """One for each place where an Ingress names a refused Pool."""
    for fragment in fragments:
        for name in fragment.backends:
            refusal = refused.get(name)
            if refusal is None:
                continue
            key, hint = (fragment.ingress, name), hints.of(name, by_ingress=True)
            told = memory.told.before(key)
            if told is None or told.refusal != refusal or told.hint != hint:
                told = _Told(refusal, hint, _faults_of(fragment, name, refusal, hint))
            yield from memory.told.keep(key, told).faults


def _faults_of(fragment: Fragment, name: PoolName, refusal: Refusal, hint: str) -> tuple[Fault, ...]:
    message = refusal.problem
    if refusal.code != BACKEND_RESOURCE:
        message += ": requests are answered with 503"
    return tuple(
        fragment.ingress.fault(Severity.ERROR, refusal.code, message, hint, (*loc, *refusal.loc))
        for loc in fragment.backends[name]
    )
