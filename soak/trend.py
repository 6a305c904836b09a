"""Trend: what a series of measurements does in the long run, whatever single ones do.

In: (second, value) pairs. Out: a slope. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

BUCKET_S = 10.0
"""Of each bucket the median counts: a peak of one second is no trend."""

Series = Sequence[tuple[float, float]]


def slope(series: Series) -> float:
    """Units a second: the median of the slopes between all pairs of buckets (Theil and Sen). 0 for too little."""
    points = buckets(series)
    slopes = [
        (later_value - value) / (later - at)
        for index, (at, value) in enumerate(points)
        for later, later_value in points[index + 1 :]
    ]
    return median(slopes) if slopes else 0.0


def buckets(series: Series) -> list[tuple[float, float]]:
    """The medians of BUCKET_S each."""
    found: dict[int, list[float]] = {}
    for at, value in series:
        found.setdefault(int(at / BUCKET_S), []).append(value)
    return [(number * BUCKET_S, median(values)) for number, values in sorted(found.items())]


def span_s(series: Series) -> float:
    """From the first to the last."""
    return series[-1][0] - series[0][0] if series else 0.0
