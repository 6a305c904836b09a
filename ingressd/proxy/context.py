"""ProxyContext: what all exchanges of a worker share. `table` is the one attribute that a reload stores."""

from __future__ import annotations

import asyncio

from ingressd.clock import Wheel
from ingressd.filters.buckets import Shared, private
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stats import WorkerStats
from ingressd.proxy.services import WorkerServices
from ingressd.routing.table import RoutingTable
from ingressd.settings import Settings
from ingressd.table.snapshot import Delta, Snapshot
from ingressd.upstream.registry import Registry


class ProxyContext:
    """The worker's routing table, upstream registry, clock, counters and log."""

    def __init__(
        self,
        settings: Settings,
        stats: WorkerStats,
        access_log: AccessLog,
        loop: asyncio.AbstractEventLoop,
        shared: Shared | None = None,
    ) -> None:
        """`shared`: where the workers count what clients use of their limits; None = this one counts alone."""
        self.settings = settings
        self.limits = settings.limits
        self.stats = stats
        self.access_log = access_log
        self.loop = loop
        self.wheel = Wheel(loop)
        self.registry = Registry(settings.limits, self.wheel, max(1, settings.workers))
        self.services = WorkerServices(loop, stats, shared or private(), self.registry, settings.external_name_allow)
        self.table = RoutingTable(Snapshot())
        self.tasks: set[asyncio.Task[None]] = set()
        """Dials under way: the loop itself holds tasks weakly."""

    def publish(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Serve `snapshot` from the next request on; requests in flight keep the Route they matched."""
        self.registry.publish(snapshot, delta)
        self.table = RoutingTable(snapshot) if delta is None else self.table.updated(snapshot, delta)
