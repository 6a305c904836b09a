"""Peak EWMA: of two targets that are drawn, the one whose answer is likely to be there first.

How long answers take is an average that forgets: what was measured DECAY_S ago counts for 1/e. It rises to a peak at
once and sinks slowly, so that an endpoint that became slow is noticed with the first slow answer. Precedent: Finagle.
"""

from __future__ import annotations

from math import exp

from ingressd.balancing.base import Request, T
from ingressd.balancing.chance import PowerOfTwoChoices

DECAY_S = 10.0
"""Finagle's default."""
UNKNOWN_S = 1.0
"""A target that has not answered yet counts as so slow while it has requests: it is tried out by one of them."""


def observed(average_s: float, age_s: float, seconds: float) -> float:
    """The average, `age_s` old, after an answer that took `seconds`."""
    if seconds >= average_s:
        return seconds
    return seconds + (average_s - seconds) * exp(-age_s / DECAY_S)


class PeakEwma(PowerOfTwoChoices[T]):
    """Of two targets that are drawn, the one with the shorter latency for the requests it has."""

    __slots__ = ()

    def load(self, target: T, request: Request) -> float:
        """What the requests in flight and this one take, by the weight. An old average sinks until it is tried anew."""
        active = target.active
        at = target.latency_at
        if not at:
            return UNKNOWN_S * active / self._weights[target]
        age_s = request.began - at
        latency_s = target.latency_s * exp(-age_s / DECAY_S) if age_s > 0 else target.latency_s
        return latency_s * (active + 1) / self._weights[target]
