"""Overload: when a worker takes no more requests, so that those it has come to an end.

In: the lateness of the timer wheel, and the memory in use. Out: the answer for new requests, or none. A worker that is
out of breath stays so until it has had time to recover, so that it does not flap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ingressd.clock import NEVER, TICK_S, Wheel
from ingressd.errors import LocalReply, Reason
from ingressd.settings import Limits

logger = logging.getLogger(__name__)

_LATE_TWICE = 2  # once may be a new snapshot, or a host that held the whole process
_CALM_S = 1.0
_GRAIN_S = 2 * TICK_S  # the wheel is up to so late when all is well
_MEMORY_LOOK_S = 1.0
_RELIEF = 0.03
_RETRY_AFTER = ((b"Retry-After", b"1"),)


class Overload:
    """Looks at every tick of the wheel. Implements clock.Timed."""

    def __init__(self, wheel: Wheel, limits: Limits, memory_share: Callable[[], float]) -> None:
        self.deadline = NEVER
        self.wheel_tick = 0
        self.reply: LocalReply | None = None
        """What every new request is answered with; None: requests are served."""
        self._wheel = wheel
        self._lag_s = limits.loop_lag_s
        self._memory_limit = limits.memory_percent / 100
        self._memory_share = memory_share
        self._due = 0.0
        self._late = 0
        self._late_until = 0.0
        self._lagging = False
        self._short = False
        self._next_memory_look = 0.0

    def start(self) -> None:
        """Look from now on; the wheel turns already."""
        self._arm()

    def on_deadline(self) -> None:
        """See clock.Timed."""
        now = self._wheel.now
        if self._lag_s:
            self._look_at_lag(now, now - self._due)
        if self._memory_limit and now >= self._next_memory_look:
            self._next_memory_look = now + _MEMORY_LOOK_S
            self._look_at_memory()
        self._arm()

    def _arm(self) -> None:
        self._wheel.arm(self, TICK_S)
        self._due = self.deadline + _GRAIN_S

    def _look_at_lag(self, now: float, late_s: float) -> None:
        if late_s > self._lag_s:
            self._late += 1
            self._late_until = now + _CALM_S
            if self._late >= _LATE_TWICE and not self._lagging:
                self._lagging = True
                logger.warning("overload: the event loop is %.1f s late; new requests get 503", late_s)
                self._settle()
            return
        self._late = 0
        if self._lagging and now >= self._late_until:
            self._lagging = False
            self._settle()

    def _look_at_memory(self) -> None:
        share = self._memory_share()
        if not self._short and share >= self._memory_limit:
            self._short = True
            logger.warning("overload: %.0f%% of the memory is in use; new requests get 503", share * 100)
            self._settle()
        elif self._short and share < self._memory_limit - _RELIEF:
            self._short = False
            self._settle()

    def _settle(self) -> None:
        if self._lagging or self._short:
            self.reply = LocalReply(
                503, Reason.OVERLOAD, "too busy for another request", headers=_RETRY_AFTER, close=True
            )
        else:
            self.reply = None
            logger.warning("overload is over: requests are served again")
