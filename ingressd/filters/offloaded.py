"""Offloaded: work of a request that would hold the loop, in threads: password hashes and signatures.

In: what to do, and a key that is the same for the same work. Out: its result. There is a bound to what waits: beyond
it requests are answered with 503, for a queue without end would only make everybody wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Services

T = TypeVar("T")

WAITING = 64
"""A bcrypt hash of usual cost takes 50 to 250 ms: the last of them waits for a few seconds, with 4 threads."""

_KEY = "ingressd.filters.offloaded"


class Offloaded:
    """The work of one worker's filters."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[Any]] = {}

    @classmethod
    def of(cls, services: Services) -> Offloaded:
        """The worker's."""
        offloaded: Offloaded = services.memory.setdefault(_KEY, cls())
        return offloaded

    async def run(self, services: Services, key: Hashable, work: Callable[[], T]) -> T:
        """The result of `work`; who asks for the same at the same time shares it. Raises LocalReply (503)."""
        future: asyncio.Future[T] | None = self._under_way.get(key)
        if future is None:
            if len(self._under_way) >= WAITING:
                raise LocalReply(503, Reason.OVERLOAD, "too many credentials are being checked")
            future = asyncio.get_running_loop().run_in_executor(services.threads, work)
            self._under_way[key] = future
            future.add_done_callback(lambda done: self._ended(key, done))
        # A client that leaves must not take it from others that wait for it.
        return await asyncio.shield(future)

    def _ended(self, key: Hashable, future: asyncio.Future[Any]) -> None:
        del self._under_way[key]
        if not future.cancelled():
            future.exception()  # everybody who asked may have left
