"""Snapshot: all that the data plane reads, and Delta: what changed between two of them.

A delta is by host, by pool and by stream listener; sub-objects that compile reused by identity cost one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import compress
from operator import is_not
from typing import TypeVar

from ingressd.table.certificate import Certificate
from ingressd.table.pool import Pool
from ingressd.table.route import Route, VirtualHost
from ingressd.table.stream import StreamListener

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation of the routing table. Treat the mappings as frozen."""

    generation: int = 0
    hosts: Mapping[str, VirtualHost] = field(default_factory=dict)
    """By VirtualHost.name: exact hosts, `*.` wildcards and ANY_HOST."""
    pools: Mapping[str, Pool] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    """By host name or `*.` wildcard, lower case."""
    default_certificate: Certificate | None = None
    default: Route | None = None
    """Takes requests that no host takes; None = 404 no_route."""
    streams: Mapping[str, StreamListener] = field(default_factory=dict)
    """By StreamListener.key."""


@dataclass(frozen=True, slots=True)
class Delta:
    """From the snapshot of generation `base` to `generation`. A value of None removes the key."""

    base: int
    generation: int
    hosts: Mapping[str, VirtualHost | None]
    pools: Mapping[str, Pool | None]
    certificates: Mapping[str, Certificate | None]
    default_certificate: Certificate | None
    default: Route | None
    streams: Mapping[str, StreamListener | None] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Nothing but the generation number changed (defaults are compared by `diff`)."""
        return not (self.hosts or self.pools or self.certificates or self.streams)


def diff(old: Snapshot, new: Snapshot) -> Delta:
    """The delta that turns `old` into `new`."""
    return Delta(
        base=old.generation,
        generation=new.generation,
        hosts=_changed(old.hosts, new.hosts),
        pools=_changed(old.pools, new.pools),
        certificates=_changed(old.certificates, new.certificates),
        default_certificate=new.default_certificate,
        default=new.default,
        streams=_changed(old.streams, new.streams),
    )


def apply(snapshot: Snapshot, delta: Delta) -> Snapshot:
    """`snapshot` with `delta` on top. Raises ValueError when the delta was made for another generation."""
    if delta.base != snapshot.generation:
        raise ValueError(f"delta for generation {delta.base} on top of {snapshot.generation}")
    return Snapshot(
        generation=delta.generation,
        hosts=_patched(snapshot.hosts, delta.hosts),
        pools=_patched(snapshot.pools, delta.pools),
        certificates=_patched(snapshot.certificates, delta.certificates),
        default_certificate=delta.default_certificate,
        default=delta.default,
        streams=_patched(snapshot.streams, delta.streams),
    )


def same_keys(old: Mapping[K, object], new: Mapping[K, object]) -> bool:
    """Whether these are the very same, in the same order, as in a copy in which values were replaced. No look-up: with
    50,000 keys those take longer than all the rest of an edit."""
    return len(old) == len(new) and not any(map(is_not, old, new))


def edited(old: Mapping[K, V], new: Mapping[K, V]) -> list[K]:
    """The keys of `new` whose value is not the very same in `old`."""
    if old is new:
        return []
    if same_keys(old, new):
        return list(compress(new, map(is_not, old.values(), new.values())))
    return [key for key, value in new.items() if old.get(key) is not value]


def _changed(old: Mapping[str, V], new: Mapping[str, V]) -> dict[str, V | None]:
    changed: dict[str, V | None] = {key: new[key] for key in edited(old, new) if old.get(key) != new[key]}
    # As many keys, and none that came: then none went.
    if len(old) != len(new) or not changed.keys() <= old.keys():
        changed.update(dict.fromkeys(old.keys() - new.keys()))
    return changed


def _patched(old: Mapping[str, V], changes: Mapping[str, V | None]) -> Mapping[str, V]:
    if not changes:
        return old
    patched = dict(old)
    for key, value in changes.items():
        if value is None:
            patched.pop(key, None)
        else:
            patched[key] = value
    return patched
