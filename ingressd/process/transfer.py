"""How a snapshot crosses the link: in parts small enough that neither loop stops for them.

In, at the controller: a Delta. Out, at the worker: the Snapshot and the Delta to what it served before, in which
everything that did not change is the worker's own old object, so that its indexes and pools stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from ingressd.process.link import Begin, End, Part
from ingressd.table.certificate import SELF_MADE, Certificate
from ingressd.table.pool import Pool
from ingressd.table.route import VirtualHost
from ingressd.table.snapshot import Delta, Snapshot, apply, diff

V = TypeVar("V")

PART_WEIGHT = 256
"""Routes and endpoints in a part: about 1 ms to unpickle."""


def full(snapshot: Snapshot) -> Delta:
    """`snapshot` as changes to nothing."""
    return diff(Snapshot(), snapshot)


def parts(delta: Delta) -> Iterator[Begin | Part | End]:
    """The messages that carry `delta`, in order."""
    yield Begin(delta.base, delta.generation, delta.default_certificate, delta.default)
    # Pools first would do as well: nothing is served before End.
    for hosts in _slices(delta.hosts):
        yield Part(hosts, {}, {})
    for pools in _slices(delta.pools):
        yield Part({}, pools, {})
    for certificates in _slices(delta.certificates):
        yield Part({}, {}, certificates)
    yield End(delta.generation)


class Assembly:
    """A snapshot that is coming in, on top of the one that is served. Discard it when its link ends."""

    def __init__(self, begin: Begin, served: Snapshot) -> None:
        """Raises ValueError when the changes are to a snapshot that is not served here."""
        if begin.base not in (0, served.generation):
            raise ValueError(f"changes to snapshot {begin.base}, but {served.generation} is served")
        self._begin = begin
        self._served = served
        self._hosts: dict[str, VirtualHost | None] = {}
        self._pools: dict[str, Pool | None] = {}
        self._certificates: dict[str, Certificate | None] = {}

    def add(self, part: Part) -> None:
        """Take in one part; what equals the served object is replaced by it."""
        _take(self._hosts, part.hosts, self._served.hosts)
        _take(self._pools, part.pools, self._served.pools)
        _take(self._certificates, part.certificates, self._served.certificates)

    def finish(self) -> tuple[Snapshot, Delta]:
        """The new snapshot, and what changed against the one that is served."""
        begin = self._begin
        base = self._served if begin.base else Snapshot()
        snapshot = apply(
            base,
            Delta(
                base=begin.base,
                generation=begin.generation,
                hosts=self._hosts,
                pools=self._pools,
                certificates=self._certificates,
                default_certificate=begin.default_certificate,
                default=begin.default,
            ),
        )
        return snapshot, diff(self._served, snapshot)


def differs(old: Snapshot, new: Snapshot, delta: Delta) -> bool:
    """Whether requests can meet anything else in `new` than in `old`, `delta` being the change between them."""
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


def _slices(changes: Mapping[str, V | None]) -> Iterator[dict[str, V | None]]:
    batch: dict[str, V | None] = {}
    weight = 0
    for key, value in changes.items():
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


def _take(changes: dict[str, V | None], incoming: Mapping[str, V | None], served: Mapping[str, V]) -> None:
    for key, value in incoming.items():
        old = served.get(key)
        changes[key] = old if old is not None and old == value else value
