"""Breakers: what is let in, who waits, who is refused, and that nobody is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.clock import Wheel
from ingressd.table.breaker import BreakerLimits
from ingressd.upstream.breaker import Breaker, Overflow, Ticket


class Door:
    """A breaker, and what became of each request."""

    def __init__(self, limits: BreakerLimits, workers: int = 1, wheel: Wheel | None = None) -> None:
        loop = asyncio.new_event_loop()
        self.breaker = Breaker(limits, wheel or Wheel(loop), workers)
        loop.close()
        self.tickets: dict[int, Ticket] = {}
        self.inside: list[int] = []
        self.refused: list[int] = []

    def come(self, number: int) -> None:
        try:
            ticket = self.breaker.enter(partial(self.inside.append, number), partial(self.refused.append, number))
        except Overflow:
            self.refused.append(number)
            return
        self.tickets[number] = ticket
        if ticket.inside:
            self.inside.append(number)

    def go(self, number: int) -> None:
        ticket = self.tickets.pop(number, None)
        if ticket is not None:
            if number in self.inside:
                self.inside.remove(number)
            ticket.leave()


def test_those_that_wait_come_in_in_their_order() -> None:
    door = Door(BreakerLimits(requests=2, pending=2))
    for number in range(5):
        door.come(number)
    assert (door.inside, door.refused) == ([0, 1], [4])
    assert door.breaker.statistics() == {"requests": 2, "pending": 2, "overflows": 1}
    door.go(0)
    door.go(1)
    assert door.inside == [2, 3]
    door.go(2)
    door.go(3)
    assert door.breaker.statistics() == {"requests": 0, "pending": 0, "overflows": 1}


def test_one_that_leaves_while_it_waits_is_never_started() -> None:
    door = Door(BreakerLimits(requests=1))
    door.come(1)
    door.come(2)
    door.go(2)
    door.go(1)
    assert door.inside == []


async def test_one_that_has_waited_for_too_long_is_refused() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    wheel.start()
    refused = asyncio.Event()
    breaker = Breaker(BreakerLimits(requests=1, pending_s=0.05), wheel, 1)
    first = breaker.enter(lambda: None, lambda: None)
    second = breaker.enter(lambda: None, refused.set)
    await asyncio.wait_for(refused.wait(), 10)
    assert breaker.statistics() == {"requests": 1, "pending": 0, "overflows": 1}
    second.leave()
    first.leave()
    assert breaker.statistics()["requests"] == 0
    wheel.stop()


@pytest.mark.parametrize(("requests", "workers", "most"), [(10, 1, 10), (10, 4, 3), (1, 4, 1), (8, 4, 2)])
def test_workers_share_what_a_pool_may_carry(requests: int, workers: int, most: int) -> None:
    assert Door(BreakerLimits(requests=requests), workers).breaker.most == most


def test_new_limits_let_in_those_that_wait() -> None:
    door = Door(BreakerLimits(requests=1))
    for number in range(4):
        door.come(number)
    door.breaker.limits = BreakerLimits(requests=2)
    door.breaker.admit()
    assert door.inside == [0, 1]
    door.breaker.open()
    assert door.inside == [0, 1, 2, 3]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=80), st.integers(1, 3), st.integers(0, 3))
def test_there_are_never_more_inside_than_may_be_and_nobody_waits_while_there_is_room(
    steps: Sequence[tuple[bool, int]], requests: int, pending: int
) -> None:
    door = Door(BreakerLimits(requests=requests, pending=pending))
    for comes, number in steps:
        if comes and number not in door.tickets:
            door.come(number)
        elif not comes:
            door.go(number)
        numbers = door.breaker.statistics()
        assert numbers["requests"] == len(door.inside) <= requests
        assert numbers["pending"] <= pending
        assert not numbers["pending"] or numbers["requests"] == requests
