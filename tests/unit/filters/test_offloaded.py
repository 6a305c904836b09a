"""Work in threads: shared by who asks for the same, bounded, and not ended by who leaves."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ingressd.errors import LocalReply, Reason
from ingressd.filters.offloaded import WAITING, Offloaded
from ingressd.proxy.services import WorkerServices


async def test_who_asks_for_the_same_shares_it_and_who_leaves_does_not_end_it(services: WorkerServices) -> None:
    offloaded, gate, calls = Offloaded.of(services), threading.Event(), []

    def work() -> int:
        calls.append(threading.current_thread())
        gate.wait(10)
        return 7

    first, second = (asyncio.create_task(offloaded.run(services, "key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert await second == 7
    assert [thread is threading.main_thread() for thread in calls] == [False]
    assert await offloaded.run(services, "key", lambda: 8) == 8


async def test_more_than_a_bound_does_not_wait(services: WorkerServices) -> None:
    offloaded, gate = Offloaded.of(services), threading.Event()
    tasks = [asyncio.create_task(offloaded.run(services, number, gate.wait)) for number in range(WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(LocalReply) as refused:
        await offloaded.run(services, "one more", gate.wait)
    assert (refused.value.status, refused.value.reason) == (503, Reason.OVERLOAD)
    gate.set()
    assert await asyncio.gather(*tasks) == [True] * WAITING
    assert await offloaded.run(services, "one more", lambda: 1) == 1


async def test_what_goes_wrong_is_told_to_everybody_and_not_remembered(services: WorkerServices) -> None:
    offloaded = Offloaded.of(services)
    with pytest.raises(ZeroDivisionError):
        await offloaded.run(services, "key", lambda: 1 // 0)
    assert await offloaded.run(services, "key", lambda: 1) == 1
