"""Expiry: when a request must be over. Only requests of routes that bound it have one."""

from __future__ import annotations

from collections.abc import Callable

from ingressd.clock import NEVER, Wheel


class Expiry:
    """Calls `expired` once, unless it is cancelled before."""

    __slots__ = ("_expired", "deadline", "wheel_tick")

    def __init__(self, wheel: Wheel, seconds: float, expired: Callable[[], None]) -> None:
        self._expired = expired
        self.deadline = NEVER
        self.wheel_tick = 0
        wheel.arm(self, seconds)

    def on_deadline(self) -> None:
        """See clock.Timed."""
        self._expired()

    def cancel(self) -> None:
        """The request is over."""
        self.deadline = NEVER
