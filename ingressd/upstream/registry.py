"""The one place for what survives a reload: endpoints by address, pools by id.

In: snapshots as they are published. Out: PoolState.pick(). Nothing here reads manifests or requests.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Collection, Mapping

from ingressd.balancing.affinity import ClientAffinity
from ingressd.balancing.base import Request, Scheduler
from ingressd.balancing.registry import SCHEDULERS
from ingressd.settings import Limits
from ingressd.table.pool import Pool
from ingressd.table.snapshot import Delta, Snapshot
from ingressd.upstream.endpoint import EndpointState

_DICE = random.Random()


class PoolState:
    """A pool with its scheduler. The scheduler lives on when endpoints come and go."""

    __slots__ = ("endpoints", "pool", "scheduler")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.endpoints: tuple[EndpointState, ...] = ()
        self.scheduler = _scheduler(pool)

    def __repr__(self) -> str:
        return f"<PoolState {self.pool.id} {self.pool.scheduler} {[e.key for e in self.endpoints]}>"

    def follow(self, pool: Pool, endpoints: tuple[EndpointState, ...]) -> None:
        """The pool is now this one, with the states of its endpoints in their order."""
        if (pool.scheduler, pool.affinity_s) != (self.pool.scheduler, self.pool.affinity_s):
            self.scheduler = _scheduler(pool)
        self.pool = pool
        self.endpoints = endpoints
        weights = (endpoint.weight for endpoint in pool.endpoints)
        self.scheduler.update(dict(zip(endpoints, weights, strict=True)))

    def pick(self, tried: Collection[EndpointState], request: Request) -> EndpointState | None:
        """The endpoint for the next attempt of `request`, or None when every one was tried or there is none."""
        endpoint = self.scheduler.pick(tried, request)
        if endpoint is not None:
            endpoint.picks += 1
        return endpoint


def _scheduler(pool: Pool) -> Scheduler[EndpointState]:
    return ClientAffinity(pool.affinity_s) if pool.affinity_s else SCHEDULERS[pool.scheduler](_DICE)


class Registry:
    """All endpoints and pools of a worker."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._endpoints: dict[tuple[str, bool], EndpointState] = {}
        self._upstream_tls: ssl.SSLContext | None = None
        self.pools: dict[str, PoolState] = {}

    def publish(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Follow a new snapshot; `delta` None means that everything may have changed."""
        changed: Mapping[str, Pool | None] = (
            {**dict.fromkeys(self.pools), **snapshot.pools} if delta is None else delta.pools
        )
        for pool_id, pool in changed.items():
            if pool is None:
                self._remove(pool_id)
            else:
                self._follow(pool)

    def statistics(self) -> list[dict[str, object]]:
        """Per pool: its endpoints with their counters."""
        return [
            {
                "pool": state.pool.id,
                "scheduler": state.pool.scheduler,
                "endpoints": [endpoint.statistics() for endpoint in state.endpoints],
            }
            for state in self.pools.values()
        ]

    def close(self) -> None:
        """Close every idle connection."""
        for endpoint in self._endpoints.values():
            endpoint.close_idle()

    def _follow(self, pool: Pool) -> None:
        state = self.pools.get(pool.id)
        if state is None:
            state = self.pools[pool.id] = PoolState(pool)
        before = state.endpoints
        endpoints = []
        for endpoint in pool.endpoints:
            known = self._endpoint(endpoint.address, endpoint.port, endpoint.key, pool.tls)
            known.references += 1
            endpoints.append(known)
        state.follow(pool, tuple(endpoints))
        self._release(before)

    def _remove(self, pool_id: str) -> None:
        state = self.pools.pop(pool_id, None)
        if state is not None:
            self._release(state.endpoints)

    def _endpoint(self, address: str, port: int, key: str, tls: bool) -> EndpointState:
        state = self._endpoints.get((key, tls))
        if state is None:
            context = self._tls_context() if tls else None
            state = self._endpoints[(key, tls)] = EndpointState(address, port, key, context, self._limits)
        return state

    def _release(self, endpoints: tuple[EndpointState, ...]) -> None:
        for endpoint in endpoints:
            endpoint.references -= 1
            if endpoint.references == 0:
                endpoint.close_idle()
                self._endpoints.pop((endpoint.key, endpoint.tls is not None), None)

    def _tls_context(self) -> ssl.SSLContext:
        """TLS to endpoints is encryption without verification, as ingress-nginx has it by default."""
        if self._upstream_tls is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._upstream_tls = context
        return self._upstream_tls
