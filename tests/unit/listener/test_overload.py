"""When a worker refuses requests, and when it takes them again."""

from __future__ import annotations

import asyncio

from ingressd.clock import Wheel
from ingressd.listener.overload import Overload
from ingressd.settings import Limits


class Watch:
    """An Overload whose ticks come when the test says, with the memory in use that it says."""

    def __init__(self, **limits: float) -> None:
        self.wheel = Wheel(asyncio.new_event_loop())
        self.wheel._loop.close()
        self.share = 0.0
        self.looks = 0
        self.it = Overload(self.wheel, Limits(**limits), self._look)  # type: ignore[arg-type]
        self.it.start()

    def _look(self) -> float:
        self.looks += 1
        return self.share

    def tick(self, late_s: float = 0.0) -> bool:
        """The next tick comes so late; whether requests are refused then."""
        self.wheel.now += 0.3 + late_s
        self.it.on_deadline()
        return self.it.reply is not None

    def ticks(self, *late_s: float) -> list[bool]:
        return [self.tick(each) for each in late_s]


def test_a_loop_that_is_late_twice_in_a_row_is_overloaded_until_it_was_on_time_for_a_while() -> None:
    watch = Watch(loop_lag_s=0.5)
    assert watch.ticks(0.6, 0.0, 0.6, 0.0) == [False] * 4
    assert watch.ticks(0.4, 0.4, 0.4) == [False] * 3
    assert watch.ticks(0.6, 0.6) == [False, True]
    assert watch.ticks(0.0, 0.0, 0.0, 0.6) == [True] * 4
    assert watch.ticks(0.0, 0.0, 0.0, 0.0) == [True, True, True, False]
    assert watch.ticks(0.6, 0.6) == [False, True]


def test_memory_is_looked_at_once_a_second_and_has_to_be_freed_by_more_than_was_missing() -> None:
    watch = Watch(memory_percent=95, loop_lag_s=0)
    shares = ((0.949, False), (0.95, True), (0.949, True), (0.921, True), (0.919, False), (0.94, False), (0.99, True))
    for share, refused in shares:
        watch.share = share
        watch.tick(1.0)
        assert (watch.it.reply is not None) == refused, share
    looks = watch.looks
    watch.ticks(0.0, 0.0, 0.0)
    assert watch.looks == looks
    watch.tick()
    assert watch.looks == looks + 1


def test_requests_are_served_again_when_neither_is_left() -> None:
    watch = Watch(memory_percent=95, loop_lag_s=0.5)
    watch.share = 1.0
    assert watch.ticks(1.0, 1.0)[1]
    watch.share = 0.5
    assert watch.ticks(1.0, 0.0, 0.0, 0.0) == [True] * 4
    assert not watch.tick()


def test_the_answer_says_when_to_come_again_and_closes() -> None:
    watch = Watch(memory_percent=95)
    watch.share = 1.0
    watch.tick()
    reply = watch.it.reply
    assert reply is not None
    assert (reply.status, reply.reason, reply.close) == (503, "overload", True)
    assert reply.headers == ((b"Retry-After", b"1"),)


def test_zero_is_no_bound() -> None:
    watch = Watch(memory_percent=0, loop_lag_s=0)
    watch.share = 1.0
    assert watch.ticks(9.0, 9.0, 9.0) == [False] * 3
    assert watch.looks == 0
