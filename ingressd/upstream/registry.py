"""The one place for what survives a reload: endpoints by address, pools by id.

In: snapshots as they are published. Out: PoolState.pick(). Nothing here reads manifests or requests.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Collection, Mapping
from math import inf

from ingressd.balancing.affinity import ClientAffinity
from ingressd.balancing.base import Request, Scheduler
from ingressd.balancing.registry import SCHEDULERS
from ingressd.clock import Wheel
from ingressd.filters.base import Affinity
from ingressd.observe.sparing import Sparing
from ingressd.settings import Limits
from ingressd.table.breaker import BreakerLimits
from ingressd.table.pool import Pool
from ingressd.table.snapshot import Delta, Snapshot
from ingressd.table.upstream_tls import UpstreamTls
from ingressd.upstream.breaker import Breaker
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.outlier import Outliers
from ingressd.upstream.secure import SecureContexts
from ingressd.upstream.serving import serving
from ingressd.upstream.slow_start import SlowStart

HASHING = frozenset({"sh", "dh", "maglev"})
"""Schedulers that go by what a request is."""
LEAST_LOADED = frozenset({"lc", "wlc", "sed", "nq"})
"""Schedulers that pick the same endpoint again when nothing has happened meanwhile."""

_DICE = random.Random()
_LOG = Sparing(logging.getLogger(__name__))


class PoolState:
    """A pool with its scheduler. The scheduler lives on when endpoints come and go.

    It knows those endpoints only that serve: `_arrange` tells it, whenever that changes. So a pick looks at health,
    ejections and slow starts only while there is one of them: `_special`.
    """

    __slots__ = (
        "_limits",
        "_next_return",
        "_outliers",
        "_slow_start",
        "_special",
        "breaker",
        "candidates",
        "dialing",
        "endpoints",
        "panic",
        "pool",
        "retrying",
        "scheduler",
    )

    def __init__(self, pool: Pool, limits: Limits) -> None:
        self.pool = pool
        self._limits = limits
        self.breaker: Breaker | None = None
        self.dialing = 0
        """Requests that wait for a connection to be made."""
        self.retrying = 0
        """Second attempts in flight."""
        self.endpoints: tuple[EndpointState, ...] = ()
        self.candidates: tuple[EndpointState, ...] = ()
        """Those that serve: healthy, not ejected, of a weight; all of a weight in a panic."""
        self.panic = False
        """So few are healthy that all serve."""
        self.scheduler = _scheduler(pool)
        self._outliers: Outliers | None = None
        self._slow_start: SlowStart[EndpointState] = SlowStart(_DICE)
        self._next_return = inf
        self._special = False

    def __repr__(self) -> str:
        return f"<PoolState {self.pool.id} {self.pool.scheduler} {[e.key for e in self.endpoints]}>"

    def follow(self, pool: Pool, endpoints: tuple[EndpointState, ...], now: float) -> None:
        """The pool is now this one, with the states of its endpoints in their order."""
        if (pool.scheduler, pool.affinity_s) != (self.pool.scheduler, self.pool.affinity_s):
            self.scheduler = _scheduler(pool)
        self.pool = pool
        self.endpoints = endpoints
        # Where the client decides, an endpoint that is passed over would cost clients their own.
        self._slow_start.turns = pool.scheduler not in LEAST_LOADED
        self._slow_start.seconds = 0.0 if pool.affinity_s or pool.scheduler in HASHING else pool.slow_start_s
        detection = pool.outliers
        if detection is not None:
            if self._outliers is None:
                self._outliers = Outliers(detection, self._ejected)
            self._outliers.detection = detection
            states = zip(endpoints, pool.endpoints, strict=True)
            self._outliers.follow([state for state, endpoint in states if endpoint.weight])
        elif self._outliers is not None:
            self._outliers.follow(())
            self._outliers = None
        self._arrange(now)

    def pick(self, tried: Collection[EndpointState], request: Request) -> EndpointState | None:
        """The endpoint for the next attempt of `request`, or None when every one was tried or there is none."""
        endpoint = self._pick(tried, request) if self._special else self.scheduler.pick(tried, request)
        if endpoint is not None:
            endpoint.picks += 1
        return endpoint

    def prefer(self, affinity: Affinity, tried: Collection[EndpointState], request: Request) -> EndpointState | None:
        """The endpoint that `affinity` chooses; the scheduler's, if that is none."""
        if request.began >= self._next_return:
            self._arrange(request.began)
        endpoint = affinity.choose(self.candidates, tried)
        if endpoint is None:
            return self.pick(tried, request)
        endpoint.picks += 1
        return endpoint

    @property
    def crowded(self) -> bool:
        """So many wait for a connection that one more would only wait longer."""
        return self.dialing >= self._limits.pending_requests

    def may_retry(self, tried: Collection[EndpointState]) -> bool:
        """Whether there is another endpoint, and room in the budget: retries must not multiply what hurts a pool."""
        if not self.may_try(tried):
            return False
        limits = self._limits
        active = sum(endpoint.active for endpoint in self.endpoints) + 1
        return self.retrying < max(limits.retries_least, active * limits.retry_percent // 100)

    def retried(self) -> None:
        """A request that had a second attempt has ended."""
        self.retrying -= 1

    def may_try(self, tried: Collection[EndpointState]) -> bool:
        """Whether `pick` has an endpoint that is not in `tried`."""
        return any(endpoint not in tried for endpoint in self.candidates) or self._ejected_one(tried) is not None

    def close(self) -> None:
        """The pool is gone: what endpoints meet concerns it no more."""
        if self._outliers is not None:
            self._outliers.follow(())

    def statistics(self, now: float) -> dict[str, object]:
        """What /api/v1/services shows of this worker's view."""
        return {
            "pool": self.pool.id,
            "scheduler": self.pool.scheduler,
            "panic": self.panic,
            "dialing": self.dialing,
            "retrying": self.retrying,
            "breaker": None if self.breaker is None else self.breaker.statistics(),
            "endpoints": [
                {**state.statistics(), "healthy": endpoint.healthy, **self._ejection(state, now)}
                for state, endpoint in zip(self.endpoints, self.pool.endpoints, strict=True)
            ],
        }

    # Health, ejections and slow starts.

    def _pick(self, tried: Collection[EndpointState], request: Request) -> EndpointState | None:
        if request.began >= self._next_return:
            self._arrange(request.began)
        endpoint: EndpointState | None
        if self._slow_start:
            endpoint = self._slow_start.pick(self.scheduler, tried, request)
        else:
            endpoint = self.scheduler.pick(tried, request)
            self._special = self._next_return < inf
        return endpoint or self._ejected_one(tried)

    def _ejected_one(self, tried: Collection[EndpointState]) -> EndpointState | None:
        """An ejected endpoint is still better than none."""
        if self._outliers is None or self._next_return == inf:
            return None
        return next(
            (
                state
                for state, endpoint in zip(self.endpoints, self.pool.endpoints, strict=True)
                if endpoint.healthy and self._outliers.is_ejected(state) and state not in tried
            ),
            None,
        )

    def _arrange(self, now: float) -> None:
        """Tell the scheduler who serves now."""
        outliers = self._outliers
        if outliers is not None and outliers.next_return <= now:
            for endpoint in outliers.let_return(now):
                _LOG.info("%s: %s takes requests again: its ejection is over", self.pool.id, endpoint.key)
        before_panic = self.panic
        weights, self.panic = serving(self.endpoints, self.pool, outliers)
        if self.panic and not before_panic:
            _LOG.warning("%s: too few of its endpoints are healthy, so all of them are used", self.pool.id)
        elif before_panic and not self.panic:
            _LOG.info("%s: enough of its endpoints are healthy again", self.pool.id)
        before, self.candidates = self.candidates, tuple(weights)
        if self._slow_start.seconds and before and not self.panic:
            self._slow_start.begin(weights.keys() - {*before}, now)
        self._slow_start.keep(weights)
        self._next_return = inf if outliers is None else outliers.next_return
        self._special = self._next_return < inf or bool(self._slow_start)
        self.scheduler.update(weights)

    def _ejected(self, endpoint: EndpointState, seconds: float, why: str, now: float) -> None:
        _LOG.warning("%s: %s is ejected for %g s: %s", self.pool.id, endpoint.key, seconds, why)
        self._arrange(now)

    def _ejection(self, endpoint: EndpointState, now: float) -> dict[str, object]:
        outlier = None if self._outliers is None else self._outliers.get(endpoint)
        if outlier is None:
            return {"ejected_s": 0.0, "ejections": 0}
        return {"ejected_s": round(max(0.0, outlier.until - now), 1), "ejections": outlier.ejections}


def _scheduler(pool: Pool) -> Scheduler[EndpointState]:
    return ClientAffinity(pool.affinity_s) if pool.affinity_s else SCHEDULERS[pool.scheduler](_DICE)


class Registry:
    """All endpoints and pools of a worker."""

    def __init__(self, limits: Limits, wheel: Wheel, workers: int = 1) -> None:
        """`workers` share what breakers allow."""
        self._limits = limits
        self._wheel = wheel
        self._workers = workers
        self._endpoints: dict[tuple[str, str], EndpointState] = {}
        """By address, and by how TLS is spoken there."""
        self._secure = SecureContexts()
        self.pools: dict[str, PoolState] = {}

    def publish(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Follow a new snapshot; `delta` None means that everything may have changed."""
        changed: Mapping[str, Pool | None] = (
            {**dict.fromkeys(self.pools), **snapshot.pools} if delta is None else delta.pools
        )
        now = time.monotonic()
        for pool_id, pool in changed.items():
            if pool is None:
                self._remove(pool_id)
            else:
                self._follow(pool, now)

    def statistics(self) -> list[dict[str, object]]:
        """Per pool: its endpoints with their counters."""
        now = time.monotonic()
        return [state.statistics(now) for state in self.pools.values()]

    def close(self) -> None:
        """Close every idle connection."""
        for endpoint in self._endpoints.values():
            endpoint.close_idle()

    def _follow(self, pool: Pool, now: float) -> None:
        state = self.pools.get(pool.id)
        if state is None:
            state = self.pools[pool.id] = PoolState(pool, self._limits)
        before = state.endpoints
        endpoints = []
        tls_key = "" if pool.tls is None else pool.tls.key
        for endpoint in pool.endpoints:
            known = self._endpoint(endpoint.address, endpoint.port, endpoint.key, pool.tls, tls_key)
            known.references += 1
            endpoints.append(known)
        state.follow(pool, tuple(endpoints), now)
        self._bound(state, pool.breaker)
        self._release(before)

    def _bound(self, state: PoolState, limits: BreakerLimits | None) -> None:
        """Those that wait already wait by the new limits."""
        breaker = state.breaker
        if limits is None:
            if breaker is not None:
                breaker.open()
            state.breaker = None
        elif breaker is None:
            state.breaker = Breaker(limits, self._wheel, self._workers)
        else:
            breaker.limits = limits
            breaker.admit()

    def _remove(self, pool_id: str) -> None:
        state = self.pools.pop(pool_id, None)
        if state is not None:
            state.close()
            self._release(state.endpoints)

    def _endpoint(self, address: str, port: int, key: str, tls: UpstreamTls | None, tls_key: str) -> EndpointState:
        state = self._endpoints.get((key, tls_key))
        if state is None:
            secure = None if tls is None else self._secure.take(tls, tls_key)
            state = self._endpoints[(key, tls_key)] = EndpointState(address, port, key, secure, self._limits, tls_key)
        return state

    def _release(self, endpoints: tuple[EndpointState, ...]) -> None:
        for endpoint in endpoints:
            endpoint.references -= 1
            if endpoint.references == 0:
                endpoint.close_idle()
                if self._endpoints.pop((endpoint.key, endpoint.tls_key), None) is not None and endpoint.tls_key:
                    self._secure.give_back(endpoint.tls_key)
