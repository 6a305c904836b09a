"""Growth: CPU beside more and more Services, hosts and paths as an SVG: a panel for each series.

In: results. Out: the text of an SVG. A point is how many times the cost of the smallest, with its microseconds. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench import series, targets
from bench.results import Results, Spread
from bench.series import Series
from bench.svg import INK, MARGIN, MUTED, OTHER, OWN, TITLE_H, line, page, text

LEAST_TOP = 1.5
"""The vertical axis reaches at least so far, and begins at 0: a hundredth must not look like a slope."""

_COLUMNS = 2
_PANEL_W, _PANEL_H = 440, 262
_LEFT, _TOP, _PLOT_W, _PLOT_H = 58, 44, 352, 150
_STEP = 0.5
_WHISKER = 5
_EDGE_SHARE = 0.1
"""Of the width of a plot, free at both of its ends."""


@dataclass(frozen=True, slots=True)
class Point:
    """One size of a series, measured."""

    count: int
    cpu_us: Spread
    ratio: Spread
    """To the smallest, round by round."""


def growth(results: Results, own: str) -> str:
    """The SVG of those series that were measured at two sizes or more; empty when there is none."""
    panels = [(one, found) for one in series.ALL if len(found := points(results, own, one)) > 1]
    if not panels:
        return ""
    width = 2 * MARGIN + _COLUMNS * _PANEL_W
    height = 2 * MARGIN + TITLE_H + -(-len(panels) // _COLUMNS) * _PANEL_H
    elements: list[str] = []
    for number, (one, found) in enumerate(panels):
        x = MARGIN + number % _COLUMNS * _PANEL_W
        y = MARGIN + TITLE_H + number // _COLUMNS * _PANEL_H
        elements += _panel(x, y, one, found)
    rounds = results.settings.get("rounds", "?")
    subtitle = (
        f"CPU of all processes of {own}, relative to the smallest; median, lowest and highest of {rounds} rounds, "
        "each of which measures all sizes in turn"
    )
    return page(width, height, "What more Services, hosts and paths cost: flat is better", subtitle, elements)


def points(results: Results, own: str, one: Series) -> list[Point]:
    """What was measured of a series; nothing when its smallest is missing."""
    found = []
    for count, name in one.points:
        cpu_us = results.spread(name, own, "cpu_us")
        ratio = results.ratio(name, own, one.first, own)
        if cpu_us is not None and ratio is not None:
            found.append(Point(count, cpu_us, ratio))
    return found


def _panel(x: int, y: int, one: Series, found: list[Point]) -> Iterator[str]:
    left, bottom = x + _LEFT, y + _TOP + _PLOT_H
    top = max(LEAST_TOP, math.ceil(max(point.ratio.high for point in found) / _STEP) * _STEP)

    def height(ratio: float) -> float:
        return bottom - ratio / top * _PLOT_H

    yield text(x, y + 14, one.title, 13, INK, bold=True)
    yield text(x, y + 32, f"CPU a {one.per}, times that at {found[0].count:,} {one.axis}", 11, MUTED)
    for step in range(round(top / _STEP) + 1):
        at = height(step * _STEP)
        yield line(left, at, left + _PLOT_W, at, OTHER, 0.5)
        yield text(left - 8, at + 4, f"{step * _STEP:g} x", 11, MUTED, anchor="end")
    if limit := _limit(one):
        yield line(left, height(limit), left + _PLOT_W, height(limit), MUTED, 1, "5 4")
        yield text(left + 4, height(limit) - 5, f"target: at most {limit:g} x", 11, MUTED)
    places = _places(left, found)
    middles = [(places[point.count], height(point.ratio.median)) for point in found]
    for (x1, y1), (x2, y2) in itertools.pairwise(middles):
        yield line(x1, y1, x2, y2, OWN, 2)
    for point, (middle, at) in zip(found, middles, strict=True):
        low, high = height(point.ratio.low), height(point.ratio.high)
        yield line(middle, low, middle, high, INK, 1.5)
        for end in (low, high):
            yield line(middle - _WHISKER, end, middle + _WHISKER, end, INK, 1.5)
        yield f'<circle cx="{middle:.1f}" cy="{at:.1f}" r="4" fill="{OWN}"/>'
        yield text(middle, low + 18, f"{point.ratio.median:.2f} x", 12, INK, bold=True, anchor="middle")
        yield text(middle, low + 33, f"{point.cpu_us.median:.1f} \N{MICRO SIGN}s", 11, MUTED, anchor="middle")
        yield text(middle, bottom + 16, f"{point.count:,}", 11, INK, anchor="middle")
    yield text(left + _PLOT_W / 2, bottom + 34, f"number of {one.axis} (logarithmic)", 11, MUTED, anchor="middle")


def _places(left: float, found: list[Point]) -> Mapping[int, float]:
    """Where each count stands on the logarithmic axis."""
    least, most = (math.log10(point.count) for point in (found[0], found[-1]))
    free = _EDGE_SHARE * _PLOT_W
    per_decade = (_PLOT_W - 2 * free) / (most - least)
    return {point.count: left + free + (math.log10(point.count) - least) * per_decade for point in found}


def _limit(one: Series) -> float | None:
    """What the project allows the largest, where it has set itself a target."""
    limits = [target.limit for target in targets.ALL if (target.workload, target.to_workload) == (one.last, one.first)]
    return limits[0] if limits else None
