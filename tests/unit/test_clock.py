"""The wheel fires what is due, once, and forgets what was moved or disarmed."""

from __future__ import annotations

import asyncio
import time

from ingressd.clock import NEVER, Wheel


class Item:
    def __init__(self) -> None:
        self.deadline = NEVER
        self.wheel_tick = 0
        self.fired = asyncio.Event()
        self.count = 0

    def on_deadline(self) -> None:
        self.count += 1
        self.fired.set()


async def test_a_deadline_fires_once() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    wheel.start()
    item, later = Item(), Item()
    wheel.arm(item, 0.05)
    wheel.arm(later, 0.35)
    await asyncio.wait_for(later.fired.wait(), 10)
    assert item.count == 1
    wheel.stop()


async def test_the_time_before_the_start_is_nobodys() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    wheel.now -= 60  # made, and not started for a minute: a worker waits for its first snapshot
    before = time.monotonic()
    wheel.start()
    item = Item()
    wheel.arm(item, 3600)
    wheel.stop()
    assert item.deadline >= before + 3600


async def test_a_deadline_that_is_moved_earlier_fires_at_the_earlier_time() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    wheel.start()
    item = Item()
    wheel.arm(item, 3600)
    wheel.arm(item, 0.05)
    await asyncio.wait_for(item.fired.wait(), 10)
    wheel.stop()


async def test_a_deadline_that_is_moved_later_or_disarmed_does_not_fire() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    wheel.start()
    moved, disarmed, last = Item(), Item(), Item()
    wheel.arm(moved, 0.05)
    wheel.arm(disarmed, 0.05)
    wheel.arm(last, 0.4)
    wheel.arm(moved, 3600)
    disarmed.deadline = NEVER
    await asyncio.wait_for(last.fired.wait(), 10)
    assert (moved.count, disarmed.count) == (0, 0)
    wheel.arm(disarmed, 0.05)
    await asyncio.wait_for(disarmed.fired.wait(), 10)
    wheel.stop()
