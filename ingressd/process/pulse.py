"""Pulse: asks the children of a crew again and again whether they live, and names those that do not answer.

In: children, the time. Out: pings, and children that hang: stopped, or caught in something that does not end. A child
that starts or drains is not asked: other bounds hold for it. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingressd.process.child import Child

BEATS = 5
"""Questions within the time to answer; a child that hangs is noticed at most a beat late."""
LONGEST_BEAT_S = 5.0
LATE_S = 1.0
"""A supervisor that wakes up so much too late was stopped itself, and its children with it: a frozen container, a
machine that slept. It knows nothing about them then."""


class Pulse:
    """One question at a time to each child. `timeout_s` = 0: nobody is asked."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._beat_s = min(timeout_s / BEATS, LONGEST_BEAT_S)
        self.next_at: float | None = None
        """Monotonic seconds of the next beat; None = there was none yet, or there is never one."""

    def beat(self, children: Iterable[Child], now: float) -> list[Child]:
        """Ask whoever is ready, if it is time to. Returns those that owe an answer for too long."""
        if not self.timeout_s or (self.next_at is not None and now < self.next_at):
            return []
        slept = self.next_at is not None and now - self.next_at > LATE_S
        self.next_at = now + self._beat_s
        hung: list[Child] = []
        for child in children:
            if not child.ready:
                continue
            if child.asked_at is None:
                child.asked_at = now
                child.send({"type": "ping"})
            elif slept:
                child.asked_at = now
            elif child.answers and now - child.asked_at >= self.timeout_s:
                hung.append(child)
                child.asked_at = now  # one that is killed may take a while to be gone
        return hung
