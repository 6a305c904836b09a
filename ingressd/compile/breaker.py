"""The annotations of a Service that bound what its endpoints get at once: `ingressd.dev/max-requests` and its kin.

In: annotations. Out: BreakerLimits, and what is wrong with them, in words.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingressd.compile.health import Mistake, seconds
from ingressd.table.breaker import PENDING, PENDING_S, BreakerLimits

REQUESTS = "ingressd.dev/max-requests"
CONNECTIONS = "ingressd.dev/max-connections"
PENDING_REQUESTS = "ingressd.dev/max-pending-requests"
PENDING_TIMEOUT = "ingressd.dev/pending-timeout"
ANNOTATIONS = (REQUESTS, CONNECTIONS, PENDING_REQUESTS, PENDING_TIMEOUT)

MOST = 1_000_000


def breaker_of(annotations: Mapping[str, str]) -> tuple[BreakerLimits | None, tuple[Mistake, ...]]:
    """What a Service says; None = it has no bound."""
    if not any(name in annotations for name in ANNOTATIONS):
        return None, ()
    mistakes: list[Mistake] = []

    def number(name: str, least: int, default: int) -> int:
        text = annotations.get(name)
        if text is None:
            return default
        if text.isascii() and text.isdigit() and least <= int(text[:9]) <= MOST:
            return int(text)
        mistakes.append(
            Mistake(name, f'{name}: "{text}" must be a whole number from {least} to {MOST}; it is left out')
        )
        return default

    # An HTTP/1.1 connection carries one request at a time: the smaller number bounds both.
    bounds = [bound for name in (REQUESTS, CONNECTIONS) if (bound := number(name, 1, 0))]
    pending = number(PENDING_REQUESTS, 0, PENDING)
    pending_s = PENDING_S
    text = annotations.get(PENDING_TIMEOUT)
    if text is not None:
        try:
            pending_s = seconds(text.strip())
        except ValueError as problem:
            mistakes.append(Mistake(PENDING_TIMEOUT, f'{PENDING_TIMEOUT}: "{text}" must be {problem}; it is left out'))
    if not bounds:
        mistakes += (
            Mistake(name, f"{name} says nothing without {REQUESTS}", invalid=False)
            for name in (PENDING_REQUESTS, PENDING_TIMEOUT)
            if name in annotations
        )
        return None, tuple(mistakes)
    return BreakerLimits(min(bounds), pending, pending_s), tuple(mistakes)
