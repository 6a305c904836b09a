"""BreakerLimits: how much a pool carries at once."""

from __future__ import annotations

from dataclasses import dataclass

PENDING = 1_024
PENDING_S = 1.0


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Of all workers together."""

    requests: int
    """At one time: with HTTP/1.1, as many connections."""
    pending: int = PENDING
    """Requests that wait for room in one worker; the next one is answered with 503."""
    pending_s: float = PENDING_S
    """How long one waits; then 503."""
