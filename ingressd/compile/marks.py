"""Marks: what health checks have found, put on the endpoints of a compilation.

In: a Compilation, the targets that are unhealthy. Out: the same, with `healthy` of its endpoints as that says; and whom
checks have to ask. It is a step of its own behind the compiler, because an endpoint that comes and goes must not cost
what an edit costs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from ingressd.compile.compilation import Compilation
from ingressd.table.endpoint import Endpoint
from ingressd.table.health import HealthCheck, HealthTarget, target_of
from ingressd.table.pool import Pool


def targets(pools: Mapping[str, Pool]) -> frozenset[HealthTarget]:
    """Whom the checks of all these pools ask."""
    return frozenset(target_of(endpoint, check) for pool, check in _checked(pools) for endpoint in pool.endpoints)


def marked(compilation: Compilation, previous: Mapping[str, Pool], unhealthy: Collection[HealthTarget]) -> Compilation:
    """The compilation with the marks. A pool that equals the one of `previous` is that one."""
    down = _Down(unhealthy)
    changed: dict[str, Pool] = {}
    for pool, check in _checked(compilation.snapshot.pools):
        wrong = {each for each in pool.endpoints if each.healthy is down.has(each, check)}
        if not wrong:
            continue
        endpoints = (replace(each, healthy=not each.healthy) if each in wrong else each for each in pool.endpoints)
        made = replace(pool, endpoints=tuple(endpoints))
        before = previous.get(pool.id)
        changed[pool.id] = before if before is not None and before == made else made
    if not changed:
        return compilation
    snapshot = replace(compilation.snapshot, pools={**compilation.snapshot.pools, **changed})
    return replace(compilation, snapshot=snapshot)


class _Down:
    """Who is unhealthy. Most endpoints are not, which is found out without a look at their check."""

    def __init__(self, unhealthy: Collection[HealthTarget]) -> None:
        self._targets = unhealthy
        self._places = {(target.address, target.port) for target in unhealthy}

    def has(self, endpoint: Endpoint, check: HealthCheck) -> bool:
        place = (endpoint.address, check.port or endpoint.port)
        return place in self._places and target_of(endpoint, check) in self._targets


def _checked(pools: Mapping[str, Pool]) -> Iterator[tuple[Pool, HealthCheck]]:
    return ((pool, pool.check) for pool in pools.values() if pool.check is not None)
