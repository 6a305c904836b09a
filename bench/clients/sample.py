"""Sample: what one run of a client brings back, and percentiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


class ClientError(Exception):
    """A client could not do its work; the text says why in one line."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Completed requests (or messages, handshakes, uploads), what went wrong, and how long each took."""

    requests: int
    seconds: float
    errors: int
    p50_us: float
    p99_us: float
    p999_us: float
    error_note: str = ""
    """Which kinds of errors, where there are any."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` percent of the sorted values do not exceed; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def sample_of(times_s: Sequence[float], seconds: float, errors: int, error_note: str = "") -> Sample:
    """The sample of requests that took these times."""
    ordered = sorted(times_s)
    p50, p99, p999 = (percentile(ordered, share) * 1e6 for share in (50, 99, 99.9))
    return Sample(len(ordered), seconds, errors, p50, p99, p999, error_note)
