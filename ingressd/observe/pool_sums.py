"""PoolSums: what all workers together say of the pools and their endpoints.

In: what each worker exported of its registry. Out: plain numbers of each pool and of each endpoint. Counts add up; a
state such as an ejection becomes the number of workers that are in it, because each worker decides for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

COUNTS = ("active", "idle", "picks", "connects", "failures", "ejections")
"""Keys of an endpoint that add up."""
_BREAKER = ("requests", "pending", "overflows")


class WorkerPools(Protocol):
    """What a worker has sent; process.link.Export is one."""

    @property
    def upstreams(self) -> Sequence[Mapping[str, Any]]:
        """Pools with their endpoints' statistics: Registry.statistics()."""


class EndpointSum:
    """One endpoint, in one pool or wherever it is listed."""

    __slots__ = ("_latency", "_weight", "counts", "ejected_s", "ejecting", "healthy")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTS, 0)
        self.healthy = True
        """No worker thinks otherwise."""
        self.ejecting = 0
        """Workers that leave it out at the moment."""
        self.ejected_s = 0.0
        """How long it will be until the last of them uses it again."""
        self._latency = 0.0
        self._weight = 0

    @property
    def latency_ms(self) -> float | None:
        """The mean of what workers have seen, by how often each of them picked it; None = none has had an answer."""
        return round(self._latency / self._weight, 1) if self._weight else None

    def add(self, seen: Mapping[str, Any]) -> None:
        """What one worker says of it."""
        for name in COUNTS:
            self.counts[name] += seen[name]
        self.healthy = self.healthy and seen["healthy"]
        if seen["ejected_s"]:
            self.ejecting += 1
            self.ejected_s = max(self.ejected_s, seen["ejected_s"])
        if seen["latency_ms"]:
            weight = max(1, seen["picks"])
            self._latency += seen["latency_ms"] * weight
            self._weight += weight

    def as_dict(self) -> dict[str, Any]:
        """What /api/v1/services shows."""
        return {
            **self.counts,
            "ejected_by": self.ejecting,
            "ejected_s": self.ejected_s,
            "latency_ms": self.latency_ms,
        }


class PoolSum:
    """One pool."""

    __slots__ = ("breaker", "dialing", "endpoints", "panicking", "retrying", "workers")

    def __init__(self) -> None:
        self.workers = 0
        """Those that have the pool."""
        self.panicking = 0
        """Workers in which so few endpoints are healthy that all are used."""
        self.dialing = 0
        self.retrying = 0
        self.breaker: dict[str, int] | None = None
        self.endpoints: dict[str, EndpointSum] = {}

    def add(self, seen: Mapping[str, Any]) -> None:
        """What one worker says of it."""
        self.workers += 1
        self.panicking += seen["panic"]
        self.dialing += seen["dialing"]
        self.retrying += seen["retrying"]
        self._add_breaker(seen["breaker"])
        for endpoint in seen["endpoints"]:
            self.endpoints.setdefault(endpoint["endpoint"], EndpointSum()).add(endpoint)

    def merge(self, other: PoolSum) -> None:
        """Count another pool as part of this one. Its endpoints are not wanted any more."""
        self.workers = max(self.workers, other.workers)
        self.panicking += other.panicking
        self.dialing += other.dialing
        self.retrying += other.retrying
        self._add_breaker(other.breaker)

    def as_dict(self) -> dict[str, Any]:
        """What /api/v1/services shows."""
        return {
            "workers": self.workers,
            "panic": self.panicking,
            "dialing": self.dialing,
            "retrying": self.retrying,
            "breaker": self.breaker,
        }

    def _add_breaker(self, seen: Mapping[str, int] | None) -> None:
        if seen is not None:
            before = self.breaker or dict.fromkeys(_BREAKER, 0)
            self.breaker = {name: before[name] + seen[name] for name in _BREAKER}


def pool_sums(workers: Iterable[WorkerPools]) -> dict[str, PoolSum]:
    """By the id of the pool."""
    sums: dict[str, PoolSum] = {}
    for worker in workers:
        for pool in worker.upstreams:
            sums.setdefault(pool["pool"], PoolSum()).add(pool)
    return sums


def endpoint_sums(workers: Iterable[WorkerPools]) -> dict[str, EndpointSum]:
    """By address: an endpoint counts once in each worker, whatever pools list it, and they share its counters."""
    sums: dict[str, EndpointSum] = {}
    for worker in workers:
        for address, seen in _of_worker(worker).items():
            sums.setdefault(address, EndpointSum()).add(seen)
    return sums


def _of_worker(worker: WorkerPools) -> dict[str, dict[str, Any]]:
    """What is known of an endpoint is the same in each pool, but for its health and its ejections."""
    merged: dict[str, dict[str, Any]] = {}
    for pool in worker.upstreams:
        for endpoint in pool["endpoints"]:
            before = merged.get(endpoint["endpoint"])
            if before is None:
                merged[endpoint["endpoint"]] = dict(endpoint)
            else:
                before["healthy"] = before["healthy"] and endpoint["healthy"]
                before["ejected_s"] = max(before["ejected_s"], endpoint["ejected_s"])
                before["ejections"] += endpoint["ejections"]
    return merged
