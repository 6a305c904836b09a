"""Breaker: how many requests a pool carries at once, and who waits when it carries as many (Envoy: circuit breaking).

In: requests that want to begin, and that have ended. Out: those that had to wait are started in the order in which they
came; one that has waited for too long is refused, and so is one for which there is no room to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ingressd.clock import NEVER, Wheel
from ingressd.table.breaker import BreakerLimits


class Ticket:
    """One request's place. `leave` when it has ended, whether it ever began or not."""

    __slots__ = ("_breaker", "_refuse", "_start", "deadline", "inside", "wheel_tick")

    def __init__(self, breaker: Breaker, start: Callable[[], None], refuse: Callable[[], None]) -> None:
        self._breaker = breaker
        self._start = start
        self._refuse = refuse
        self.inside = False
        self.deadline = NEVER
        self.wheel_tick = 0

    def begin(self) -> None:
        """There is room."""
        self.inside = True
        self.deadline = NEVER
        self._start()

    def on_deadline(self) -> None:
        """It has waited for too long."""
        self._breaker.drop(self)
        self._refuse()

    def leave(self) -> None:
        """The request has ended."""
        self.deadline = NEVER
        self._breaker.left(self)


class Breaker:
    """One pool's."""

    __slots__ = ("_inside", "_share", "_waiting", "_wheel", "limits", "overflows")

    def __init__(self, limits: BreakerLimits, wheel: Wheel, workers: int) -> None:
        self.limits = limits
        self.overflows = 0
        """Requests that were refused."""
        self._wheel = wheel
        self._share = workers
        self._inside = 0
        self._waiting: deque[Ticket] = deque()

    @property
    def most(self) -> int:
        """This worker's part of what the pool may carry."""
        return -(-self.limits.requests // self._share)

    def enter(self, start: Callable[[], None], refuse: Callable[[], None]) -> Ticket:
        """Ask for room. The ticket is inside, or waits: then one of the two is called, unless it leaves before.

        Raises Overflow.
        """
        ticket = Ticket(self, start, refuse)
        if self._inside < self.most:
            self._inside += 1
            ticket.inside = True
        elif len(self._waiting) < self.limits.pending and self.limits.pending_s > 0:
            self._waiting.append(ticket)
            self._wheel.arm(ticket, self.limits.pending_s)
        else:
            self.overflows += 1
            raise Overflow
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """It waits no more."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self.overflows += 1

    def left(self, ticket: Ticket) -> None:
        """It is over."""
        if not ticket.inside:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            return
        ticket.inside = False
        self._inside -= 1
        self.admit()

    def admit(self) -> None:
        """Let those in that wait, as far as there is room."""
        while self._waiting and self._inside < self.most:
            self._inside += 1
            self._waiting.popleft().begin()

    def open(self) -> None:
        """There is no bound any more."""
        while self._waiting:
            self._inside += 1
            self._waiting.popleft().begin()

    def statistics(self) -> dict[str, int]:
        """What /api/v1/services shows of this worker's view."""
        return {"requests": self._inside, "pending": len(self._waiting), "overflows": self.overflows}


class Overflow(Exception):
    """There is no room, not even for waiting."""
