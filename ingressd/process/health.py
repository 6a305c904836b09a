"""HealthChecker: asks all targets again and again, and knows which of them are unhealthy.

In: the targets that the newest table needs. Out: `unhealthy`, and a call when it changes. One heap of times and one
timer, whatever the number of targets; a task lives only while its check is under way. It never knows Services.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from ingressd.observe.sparing import Sparing
from ingressd.process.probe import Probe, Result
from ingressd.table.health import HealthTarget
from ingressd.upstream.health import Health

CONCURRENT = 256
"""Checks under way: what is due meanwhile waits for its turn."""
JITTER = 0.1
"""Intervals differ by so much, so that targets that came together are not asked together for ever."""
FIRST_PER_S = 500
"""First checks a second: those of a few targets come at once, those of thousands do not come as one blow."""
DEBOUNCE_S = 0.05
"""Changes that come together are told together."""

_LOG = Sparing(logging.getLogger("ingressd.health"))


class _Watched:
    """One target."""

    __slots__ = ("asked", "health", "target")

    def __init__(self, target: HealthTarget, health: Health) -> None:
        self.target = target
        self.health = health
        self.asked = True
        """It is still to be asked: nobody took it off."""


class HealthChecker:
    """All targets of a controller. `on_change` is called from the loop."""

    def __init__(self, on_change: Callable[[], None], dice: random.Random | None = None) -> None:
        self._on_change = on_change
        self._dice = dice or random.Random()
        self._probe: Probe | None = None
        self._watched: dict[HealthTarget, _Watched] = {}
        self._heap: list[tuple[float, int, _Watched]] = []
        self._count = 0
        """Of entries in the heap, ever: two that are due at the same time keep their order."""
        self._due: deque[_Watched] = deque()
        """They wait for a free place."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._announcement: asyncio.TimerHandle | None = None
        self._unknown: set[_Watched] = set()
        self._all_known = asyncio.Event()
        self._down: set[HealthTarget] = set()

    @property
    def unhealthy(self) -> frozenset[HealthTarget]:
        """Those that are, at this moment."""
        return frozenset(self._down)

    def follow(self, targets: Collection[HealthTarget]) -> None:
        """Ask exactly these from now on. What is known of those that stay, or only got another check, is kept."""
        gone = self._watched.keys() - targets
        news = sorted(targets - self._watched.keys(), key=str)
        healthy = {(target.address, target.port): self._watched[target].health.healthy for target in gone}
        for target in gone:
            watched = self._watched.pop(target)
            watched.asked = False
            self._unknown.discard(watched)
            self._down.discard(target)
        spread_s = len(news) / FIRST_PER_S
        now = asyncio.get_running_loop().time()
        for target in news:
            health = Health(healthy=healthy.get((target.address, target.port), True))
            watched = self._watched[target] = _Watched(target, health)
            self._unknown.add(watched)
            if not health.healthy:
                self._down.add(target)
            self._push(watched, now + min(spread_s, target.check.interval_s) * self._dice.random())
        if not self._unknown:
            self._all_known.set()
        self._arm()

    async def first_results(self, within_s: float) -> None:
        """Until every target has been asked, at most so long."""
        self._all_known.clear()
        if self._unknown:
            try:
                async with asyncio.timeout(within_s):
                    await self._all_known.wait()
            except TimeoutError:
                return

    def statistics(self) -> dict[HealthTarget, dict[str, Any]]:
        """What is known of each target."""
        return {
            target: {
                "target": str(target),
                "check": str(target.check),
                "healthy": watched.health.healthy,
                "streak": watched.health.streak,
                "detail": watched.health.detail,
                "checked_at": watched.health.checked_at,
                "took_ms": round(watched.health.took_s * 1000, 1),
            }
            for target, watched in self._watched.items()
        }

    async def close(self) -> None:
        """Ask nothing any more."""
        self.follow(frozenset())
        for handle in (self._timer, self._announcement):
            if handle is not None:
                handle.cancel()
        self._timer = self._announcement = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._probe is not None:
            await self._probe.close()
            self._probe = None

    # The clock.

    def _push(self, watched: _Watched, due: float) -> None:
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, watched))

    def _arm(self) -> None:
        """One timer, for the first of the heap."""
        while self._heap and not self._heap[0][2].asked:
            heapq.heappop(self._heap)
        if self._timer is not None:
            if self._heap and self._timer_at <= self._heap[0][0]:
                return
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer_at = self._heap[0][0]
            self._timer = asyncio.get_running_loop().call_at(self._timer_at, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            watched = heapq.heappop(self._heap)[2]
            if watched.asked:
                self._due.append(watched)
        self._begin()
        self._arm()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        while self._due and len(self._tasks) < CONCURRENT:
            watched = self._due.popleft()
            if watched.asked:
                task = loop.create_task(self._ask(watched))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._begin()
        self._arm()

    # One check.

    async def _ask(self, watched: _Watched) -> None:
        if self._probe is None:
            self._probe = Probe()
        interval_s = watched.target.check.interval_s
        due = asyncio.get_running_loop().time() + interval_s * self._dice.uniform(1 - JITTER, 1 + JITTER)
        result = None
        try:
            result = await self._probe.ask(watched.target)
        except Exception:
            # A mistake of ours says nothing of the endpoint, and must not end its checks.
            _LOG.exception("the check of %s failed", watched.target)
        if watched.asked:
            if result is not None:
                self._take(watched, result)
            # A check that took longer than its interval is followed by the next one at once, not by two.
            self._push(watched, due)

    def _take(self, watched: _Watched, result: Result) -> None:
        health, target = watched.health, watched.target
        check = target.check
        health.detail, health.took_s, health.checked_at = result.detail, result.took_s, time.time()
        self._unknown.discard(watched)
        if not self._unknown:
            self._all_known.set()
        if not health.take(good=result.good, rise=check.rise, fall=check.fall):
            return
        if health.healthy:
            self._down.discard(target)
            _LOG.info("%s is healthy again: %s (%s)", target, result.detail, check)
        else:
            self._down.add(target)
            _LOG.warning("%s is unhealthy: %s (%s)", target, result.detail, check)
        if self._announcement is None:
            self._announcement = asyncio.get_running_loop().call_later(DEBOUNCE_S, self._announce)

    def _announce(self) -> None:
        self._announcement = None
        self._on_change()
