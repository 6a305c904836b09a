"""Time: one coarse timer wheel for all the deadlines of a worker.

In: objects with a `deadline`, armed. Out: `on_deadline()` calls, at most one tick late. Every deadline is
monotonic, so a jump of the wall clock fires and freezes nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Protocol

TICK_S = 0.1
NEVER = math.inf


class Timed(Protocol):
    """What the wheel holds. `deadline` (monotonic seconds) is its user's to read, `wheel_tick` the wheel's own."""

    deadline: float
    wheel_tick: int

    def on_deadline(self) -> None:
        """The deadline has passed. Arm again to be called again."""


class Wheel:
    """Deadlines in buckets of TICK_S.

    Moving a deadline later is one attribute store: an object stays in its bucket and is moved on when that
    bucket comes up. Only moving it earlier costs a second entry.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, list[Timed]] = {}
        self._tick = int(time.monotonic() / TICK_S)
        self._handle: asyncio.TimerHandle | None = None
        self.now = time.monotonic()
        """Monotonic seconds at the last tick: cheap to read, at most TICK_S old."""

    def start(self) -> None:
        """Begin to tick; call once, on the loop."""
        self.now = time.monotonic()  # until the first tick, deadlines count from here
        self._handle = self._loop.call_later(TICK_S, self._turn)

    def stop(self) -> None:
        """Stop ticking; armed deadlines never fire."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._buckets.clear()

    def arm(self, timed: Timed, seconds: float) -> None:
        """Call `timed.on_deadline()` in `seconds`, unless its deadline is moved or disarmed before."""
        timed.deadline = deadline = self.now + seconds
        if self._tick < timed.wheel_tick <= deadline / TICK_S:
            return  # its bucket comes up first, and moves it on
        tick = int(deadline / TICK_S) + 1
        if timed.wheel_tick <= self._tick or tick < timed.wheel_tick:
            timed.wheel_tick = tick
            bucket = self._buckets.get(tick)
            if bucket is None:
                self._buckets[tick] = [timed]
            else:
                bucket.append(timed)

    def _turn(self) -> None:
        self.now = now = time.monotonic()
        last = int(now / TICK_S)
        for tick in range(self._tick + 1, last + 1):
            self._tick = tick
            for timed in self._buckets.pop(tick, ()):
                if timed.wheel_tick != tick:
                    continue  # it was armed earlier than this entry: the other entry speaks for it
                timed.wheel_tick = 0
                deadline = timed.deadline
                if deadline <= now:
                    timed.deadline = NEVER
                    timed.on_deadline()
                elif deadline != NEVER:
                    self.arm(timed, deadline - now)
        self._handle = self._loop.call_later(TICK_S, self._turn)
