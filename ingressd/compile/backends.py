"""Backends: the Pools that routes and listeners name, each made once however many do; and what is wrong with that.

In: Fragments, and the name that the operator gave. Out: Pools, the questions for discovery, faults where a backend is
written. What a Pool is made of is for pools.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from ingressd.compile.kept import Kept
from ingressd.compile.made import BACKEND_RESOURCE, SERVICE_MISSING, Made, PoolName, Refusal
from ingressd.compile.pools import APP_PROTOCOL_UNSUPPORTED, PoolMaker
from ingressd.compile.rules import Fragment
from ingressd.compile.series import Line
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
    requests: Collection[PoolName] = ()
    """The names that routes use."""


class _Run:
    """What a run has made, and of what."""

    def __init__(self, maker: PoolMaker, fragments: tuple[Fragment, ...], operators_own: PoolName | None) -> None:
        self.maker = maker
        self.fragments = fragments
        self.operators_own = operators_own
        self.streams: tuple[PoolName, ...] = ()
        self.made: dict[PoolName, Made] = {}
        self.by_service: dict[tuple[str, str], tuple[PoolName, ...]] = {}
        self.asking: dict[PoolName, None] = {}
        """Those whose endpoints others have to find."""
        self.told: dict[PoolName, tuple[Fault, ...]] = {}
        self.refused: dict[PoolName, Refusal] = {}
        self.backends = Backends()

    def after(self, maker: PoolMaker, fragments: tuple[Fragment, ...]) -> _Run:
        """The next one, of fragments with the same backends: what was handed out stays as it is."""
        run = _Run(maker, fragments, self.operators_own)
        run.made, run.by_service, run.asking = self.made, self.by_service, self.asking
        run.told, run.refused = dict(self.told), self.refused
        last = self.backends
        run.backends = Backends(dict(last.pools), dict(last.asked), last.requests)
        return run

    def add(self, name: PoolName, made: Made) -> None:
        """Its Pool, new or in the place of the one before."""
        backends, key = self.backends, (name.namespace, name.service)
        if name not in self.made:
            self.by_service[key] = (*self.by_service.get(key, ()), name)
        self.made[name] = made
        backends.pools[made.pool.id] = made.pool
        if name in self.asking and not made.queries:
            del self.asking[name], backends.asked[made.pool.id]
        if made.queries:
            self.asking[name] = None
            backends.asked[made.pool.id] = made.queries
        told = made.faults
        if told and name not in backends.requests:
            told = tuple(each for each in told if each.code != APP_PROTOCOL_UNSUPPORTED)
        if told:
            self.told[name] = told
        else:
            self.told.pop(name, None)
        if made.refusal is not None:
            self.refused[name] = made.refusal

    def drop(self, name: PoolName) -> None:
        """Nobody names it any more."""
        key = (name.namespace, name.service)
        self.by_service[key] = tuple(each for each in self.by_service[key] if each != name)
        pool = self.made.pop(name).pool.id
        del self.backends.pools[pool]
        self.backends.asked.pop(pool, None)
        self.asking.pop(name, None)
        self.told.pop(name, None)


class BackendMemory:
    """What the last run made, of the same options."""

    def __init__(self) -> None:
        self.run: _Run | None = None
        self.told: Kept[tuple[Resource[Ingress], PoolName], _Told] = Kept()
        self.names = ServiceNames()

    def turn(self) -> None:
        """A run begins."""
        self.told.turn()


def compile_backends(
    fragments: Line[Fragment],
    operators_own: PoolName | None,
    streams: tuple[PoolName, ...],
    maker: PoolMaker,
    services: Collection[tuple[str, str]],
    faults: list[Fault],
    memory: BackendMemory,
) -> Backends:
    """A Pool for each name, in the order in which they come first. `services`: the names of all.

    `streams` are those that listeners of Services need.
    """
    # A run that fails half-way leaves nothing behind.
    before, memory.run = memory.run, None
    run = None if before is None else _edited(before, fragments, operators_own, streams, maker)
    if run is None:
        run = _whole(before, fragments, operators_own, streams, maker)
    memory.run = run
    # Two pools of a Service know of the same mistakes.
    faults += dict.fromkeys(chain.from_iterable(run.told.values()))
    refused = run.refused
    if refused:
        hints = _Hints(refused, services, memory)
        faults += _ingress_faults(fragments.now, refused, hints, memory)
        if operators_own in refused:
            refusal, hint = refused[operators_own], hints.of(operators_own, by_ingress=False)
            faults.append(Fault(Severity.ERROR, refusal.code, "", "", "", OPERATOR, 0, 0, refusal.problem, hint))
    return run.backends


def _whole(
    before: _Run | None,
    fragments: Line[Fragment],
    operators_own: PoolName | None,
    streams: tuple[PoolName, ...],
    maker: PoolMaker,
) -> _Run:
    wanted: dict[PoolName, object] = {}
    for fragment in fragments.now:
        wanted.update(fragment.backends)
    if operators_own is not None:
        wanted.setdefault(operators_own)
    run = _Run(maker, fragments.now, operators_own)
    run.streams = streams
    at_layer_7 = run.backends.requests = frozenset(wanted)
    wanted.update(dict.fromkeys(name for name in streams if name not in at_layer_7))
    known = {} if before is None else before.made
    for name in wanted:
        made = known.get(name)
        run.add(name, maker.make(name) if made is None or not maker.holds(name, made) else made)
    return run


def _edited(
    before: _Run,
    fragments: Line[Fragment],
    operators_own: PoolName | None,
    streams: tuple[PoolName, ...],
    maker: PoolMaker,
) -> _Run | None:
    """The run before with what was edited since, at that cost; None = routes need other pools, or a refused one was."""
    now, then, where = fragments.since(before.fragments)
    if where is None or operators_own != before.operators_own:
        return None
    if any(list(then[place].backends) != list(now[place].backends) for place in where):
        return None
    came, gone = _apart(before.streams, streams)
    looked_at = dict.fromkeys(before.asking if maker.answers_differ(before.maker) else ())
    for service in maker.edited(before.maker):
        looked_at.update(dict.fromkeys(before.by_service.get(service, ())))
    if not before.refused.keys().isdisjoint((*looked_at, *gone)):
        return None
    run = before.after(maker, now)
    run.streams = streams
    for name in gone:
        if name not in run.backends.requests:
            run.drop(name)
            looked_at.pop(name, None)
    for name in (*looked_at, *came):
        made = run.made.get(name)
        if made is None or not maker.holds(name, made):
            run.add(name, maker.make(name))
    return run if run.refused.keys() == before.refused.keys() else None


def _apart(before: tuple[PoolName, ...], now: tuple[PoolName, ...]) -> tuple[list[PoolName], list[PoolName]]:
    """Who came and who is gone. Those that stay are mostly the same objects, which is quickly seen."""
    if before is now:
        return [], []
    known, still = set(map(id, before)), set(map(id, now))
    came = [name for name in now if id(name) not in known]
    gone = [name for name in before if id(name) not in still]
    back = set(came) & set(gone)
    return [name for name in came if name not in back], [name for name in gone if name not in back]


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
