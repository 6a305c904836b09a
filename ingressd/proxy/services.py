"""WorkerServices: what filters can use of a worker beside the request at hand. Made when it is first used."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from errno import EACCES
from typing import Any

from aiohttp import AddrInfoType, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from ingressd.compile.reach import Reach
from ingressd.filters.base import Request
from ingressd.filters.buckets import Buckets, Shared
from ingressd.observe.stats import WorkerStats
from ingressd.upstream.registry import Registry

THREADS = 4
"""Password hashes are the work they do: more of them at once would take the loop its processor."""
SUBREQUEST_S = 60.0
"""Longest request of a filter's own, whatever the filter says."""
SUBREQUESTS = 1_000
"""Connections for requests of filters' own, altogether; the rest wait."""


class WorkerServices:
    """See filters.base.Services."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stats: WorkerStats,
        shared: Shared,
        registry: Registry | None = None,
        allowed: Iterable[str] = (),
    ) -> None:
        """`registry`: where the pools are; `allowed`: networks that may be reached although they are link-local."""
        self._loop = loop
        self._registry = registry
        self._reach = Reach(allowed)
        self._stats = stats
        self._shared = shared
        self._buckets: Buckets | None = None
        self._session: ClientSession | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.memory: dict[Any, Any] = {}

    @property
    def session(self) -> ClientSession:
        """See Services."""
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=SUBREQUESTS, socket_factory=self._socket),
                cookie_jar=DummyCookieJar(),
                timeout=ClientTimeout(total=SUBREQUEST_S),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    @property
    def threads(self) -> Executor:
        """See Services."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "filter")
        return self._threads

    @property
    def buckets(self) -> Buckets:
        """See Services."""
        if self._buckets is None:
            self._buckets = Buckets(self._shared)
        return self._buckets

    def count(self, what: str) -> None:
        """See Services."""
        counts = self._stats.filter_events
        counts[what] = counts.get(what, 0) + 1

    def endpoint(self, pool: str, request: Request) -> str | None:
        """See Services."""
        state = None if self._registry is None else self._registry.pools.get(pool)
        endpoint = None if state is None else state.pick((), request)
        return None if endpoint is None else endpoint.key

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """See Services."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _socket(self, found: AddrInfoType) -> socket.socket:
        """For what is about to be dialled, whatever name it was found under (docs/decisions/0006)."""
        family, kind, protocol, _, place = found
        refused = self._reach.refusal(str(place[0]).partition("%")[0])
        if refused:
            raise PermissionError(EACCES, f"{place[0]} is refused: it is {refused}")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """End what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            with contextlib.suppress(OSError):
                await self._session.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
