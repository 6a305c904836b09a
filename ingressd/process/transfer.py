"""How a snapshot crosses the link: in parts small enough that neither loop stops for them.

In, at the controller: a Delta. Out, at the worker: the Snapshot and the Delta to what it served before, in which
everything that did not change is the worker's own old object, so that its indexes and pools stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from ingressd.process.link import Begin, End, Part
from ingressd.table.certificate import SELF_MADE, Certificate
from ingressd.table.policy import RoutePolicy
from ingressd.table.pool import Pool
from ingressd.table.route import Route, VirtualHost
from ingressd.table.snapshot import Delta, Snapshot, diff
from ingressd.table.stream import StreamListener

V = TypeVar("V")

PART_WEIGHT = 128
"""Routes and endpoints in a part: about 0.5 ms to unpickle and to compare."""


def full(snapshot: Snapshot) -> Delta:
    """`snapshot` as changes to nothing."""
    return diff(Snapshot(), snapshot)


def parts(delta: Delta) -> Iterator[Begin | Part | End]:
    """The messages that carry `delta`, in order."""
    yield Begin(delta.base, delta.generation, delta.default_certificate, delta.default)
    # Pools first would do as well: nothing is served before End.
    for hosts in _batches(_pieces(delta.hosts)):
        yield Part(hosts, {}, {})
    for pools in _batches(delta.pools.items()):
        yield Part({}, pools, {})
    for certificates in _batches(delta.certificates.items()):
        yield Part({}, {}, certificates)
    for streams in _batches(delta.streams.items()):
        yield Part({}, {}, {}, streams)
    yield End(delta.generation)


class Assembly:
    """A snapshot that is coming in, on top of the one that is served. Discard it when its link ends."""

    def __init__(self, begin: Begin, served: Snapshot) -> None:
        """Raises ValueError when the changes are to a snapshot that is not served here."""
        if begin.base not in (0, served.generation):
            raise ValueError(f"changes to snapshot {begin.base}, but {served.generation} is served")
        self._begin = begin
        self._served = served
        self._hosts = _Incoming(served.hosts)
        self._pools = _Incoming(served.pools)
        self._certificates = _Incoming(served.certificates)
        self._streams: _Incoming[StreamListener] = _Incoming(served.streams)
        self._open: VirtualHost | None = None
        """The host that came last: more of its routes may come."""
        self._routes: list[Route] = []
        """Those that came."""
        self._policies: dict[RoutePolicy, RoutePolicy] = {}

    def add(self, part: Part) -> None:
        """Take in one part; what equals the served object is replaced by it."""
        policies: dict[int, RoutePolicy] = {}
        for name, host in part.hosts.items():
            if host is not None:
                self._continue(host, policies)
            else:
                self._hosts.take(name, None)
        for key, pool in part.pools.items():
            self._pools.take(sys.intern(key), pool)
        for key, certificate in part.certificates.items():
            self._certificates.take(key, certificate)
        for key, stream in part.streams.items():
            self._streams.take(key, stream)

    def finish(self) -> tuple[Snapshot, Delta]:
        """The new snapshot, and what changed against the one that is served."""
        self._close()
        begin, whole = self._begin, not self._begin.base
        hosts, changed_hosts = self._hosts.finish(whole=whole)
        pools, changed_pools = self._pools.finish(whole=whole)
        certificates, changed_certificates = self._certificates.finish(whole=whole)
        streams, changed_streams = self._streams.finish(whole=whole)
        snapshot = Snapshot(
            begin.generation, hosts, pools, certificates, begin.default_certificate, begin.default, streams
        )
        delta = Delta(
            base=self._served.generation,
            generation=begin.generation,
            hosts=changed_hosts,
            pools=changed_pools,
            certificates=changed_certificates,
            default_certificate=begin.default_certificate,
            default=begin.default,
            streams=changed_streams,
        )
        return snapshot, delta

    def _continue(self, piece: VirtualHost, policies: dict[int, RoutePolicy]) -> None:
        """All of a host, or some of its routes. `policies`: those of its part, by identity."""
        if self._open is not None and self._open.name != piece.name:
            self._close()
        self._open = piece
        served = self._served.hosts.get(piece.name)
        old = () if served is None else served.routes
        # Route by route, in its turn: to compare all of a large host at once would hold the loop.
        for route in piece.routes:
            place = len(self._routes)
            same = place < len(old) and old[place] == route
            self._routes.append(old[place] if same else self._sharing(route, policies))

    def _sharing(self, route: Route, policies: dict[int, RoutePolicy]) -> Route:
        """The route, with what it has in common with others in common again: each part brought a copy of its own.

        Of what every request reads, less is then in the processor's cache for fifty thousand hosts.
        """
        own = route.policy
        policy = policies.get(id(own))
        if policy is None:
            policy = policies[id(own)] = self._policies.setdefault(own, own)
        # Nobody else has seen the route yet.
        object.__setattr__(route, "policy", policy)
        object.__setattr__(route, "pool", sys.intern(route.pool))
        return route

    def _close(self) -> None:
        """That was all of the host that came last."""
        if self._open is not None:
            self._hosts.take(self._open.name, replace(self._open, routes=tuple(self._routes)))
            self._open, self._routes = None, []


class _Incoming(Generic[V]):
    """Objects of one kind that come in, beside those that are served."""

    def __init__(self, served: Mapping[str, V]) -> None:
        self._served = served
        self._came: dict[str, V] = {}
        self._gone: set[str] = set()
        self._changed: dict[str, V | None] = {}

    def take(self, key: str, value: V | None) -> None:
        """One of them; None: it goes."""
        old = self._served.get(key)
        if value is None:
            self._gone.add(key)
        elif old is not None and old == value:
            self._came[key] = old
        else:
            self._came[key] = self._changed[key] = value

    def finish(self, *, whole: bool) -> tuple[Mapping[str, V], dict[str, V | None]]:
        """What is served next, and what that changes. `whole`: nothing is but what came."""
        gone = self._served.keys() - self._came.keys() if whole else self._gone
        self._changed.update(dict.fromkeys(gone))
        if whole or not self._changed:
            return (self._came if whole else self._served), self._changed
        found = {**self._served, **self._came}
        for key in gone:
            found.pop(key, None)
        return found, self._changed


def differs(old: Snapshot, new: Snapshot, delta: Delta) -> bool:
    """Whether clients can meet anything else in `new` than in `old`, `delta` being the change between them."""
    return (
        not delta.empty
        or old.default != new.default
        or _origin(old.default_certificate) != _origin(new.default_certificate)
    )


def _origin(certificate: Certificate | None) -> str:
    """What a default certificate is known by: each controller makes one of its own, and they are all the same."""
    if certificate is None:
        return ""
    return certificate.origin if certificate.origin == SELF_MADE else certificate.fingerprint


def _pieces(hosts: Mapping[str, VirtualHost | None]) -> Iterator[tuple[str, VirtualHost | None]]:
    """The hosts; one with very many routes in pieces that follow each other."""
    for name, host in hosts.items():
        if host is None or len(host.routes) <= PART_WEIGHT:
            yield name, host
        else:
            for start in range(0, len(host.routes), PART_WEIGHT):
                yield name, replace(host, routes=host.routes[start : start + PART_WEIGHT])


def _batches(changes: Iterable[tuple[str, V | None]]) -> Iterator[dict[str, V | None]]:
    batch: dict[str, V | None] = {}
    weight = 0
    for key, value in changes:
        batch[key] = value
        weight += _weight(value)
        if weight >= PART_WEIGHT:
            yield batch
            batch, weight = {}, 0
    if batch:
        yield batch


def _weight(value: object) -> int:
    if isinstance(value, VirtualHost):
        return 1 + len(value.routes)
    if isinstance(value, Pool):
        return 1 + len(value.endpoints)
    return 1
