"""Chart: CPU a request as an SVG: a panel for each workload, a bar for each proxy.

In: results. Out: the text of an SVG. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.results import Results, Spread
from bench.svg import INK, MARGIN, MUTED, OTHER, OWN, TITLE_H, line, page, text
from bench.workloads import Workload

CHARTED = ("get", "get-tls", "body-10k", "new-connection", "websocket", "routes-10k")
"""Six panels are what a page can take; the rest is in the table."""
CUT = 8.0
"""A bar ends at so many times the project's own, with its figure beside it, so that short ones stay readable."""

_COLUMNS = 2
_PANEL_W, _BAR_H, _BAR_GAP = 440, 16, 6
_NAME_W, _FIGURE_W = 70, 90
_PANEL_TITLE_H, _PANEL_GAP = 26, 22


def chart(results: Results, own: str, peers: Sequence[str], workloads: Sequence[Workload]) -> str:
    """The SVG of those charted workloads that were measured; empty when there is none."""
    panels = [
        (workload, bars)
        for workload in workloads
        if workload.name in CHARTED and (bars := _bars(results, peers, workload.name))
    ]
    if not panels:
        return ""
    panel_h = _PANEL_TITLE_H + len(peers) * (_BAR_H + _BAR_GAP) + _PANEL_GAP
    rows = -(-len(panels) // _COLUMNS)
    elements: list[str] = []
    for number, (workload, bars) in enumerate(panels):
        x = MARGIN + number % _COLUMNS * _PANEL_W
        y = MARGIN + TITLE_H + number // _COLUMNS * panel_h
        elements += _panel(x, y, workload.title, bars, own, peers)
    width, height = 2 * MARGIN + _COLUMNS * _PANEL_W, 2 * MARGIN + TITLE_H + rows * panel_h
    return page(width, height, "CPU a request, in microseconds: less is better", _subtitle(results), elements)


def _bars(results: Results, peers: Sequence[str], workload: str) -> Mapping[str, Spread]:
    found = {peer: results.spread(workload, peer, "cpu_us") for peer in peers}
    return {peer: spread for peer, spread in found.items() if spread is not None}


def _subtitle(results: Results) -> str:
    rounds = results.settings.get("rounds", "?")
    return (
        f"user and system time of all its processes, one core, {rounds} rounds; the line is the spread over the rounds"
    )


def _panel(x: int, y: int, title: str, bars: Mapping[str, Spread], own: str, peers: Sequence[str]) -> Iterator[str]:
    yield text(x, y + 14, title, 13, INK, bold=True)
    highest_us = max(spread.high for spread in bars.values())
    if own in bars:
        highest_us = min(highest_us, CUT * bars[own].median)
    per_us = (_PANEL_W - _NAME_W - _FIGURE_W - MARGIN) / highest_us if highest_us else 0.0
    for number, peer in enumerate(peers):
        top = y + _PANEL_TITLE_H + number * (_BAR_H + _BAR_GAP)
        yield text(x, top + 12, peer, 12, INK, bold=peer == own)
        if peer not in bars:
            yield text(x + _NAME_W, top + 12, "not measured", 11, MUTED)
            continue
        spread = bars[peer]
        cut = spread.median > highest_us
        length = min(spread.median, highest_us) * per_us
        yield (
            f'<rect x="{x + _NAME_W}" y="{top}" width="{length:.1f}" height="{_BAR_H}" rx="2" '
            f'fill="{OWN if peer == own else OTHER}"/>'
        )
        if not cut:
            low, high = (x + _NAME_W + min(end, highest_us) * per_us for end in (spread.low, spread.high))
            middle = top + _BAR_H / 2
            yield line(low, middle, high, middle, INK, 1.5)
        figure = f"{spread.median:,.1f}" if spread.median < 1000 else f"{spread.median:,.0f}"
        end = x + _NAME_W + length if cut else x + _NAME_W + max(length, min(spread.high, highest_us) * per_us)
        yield text(
            end + 6, top + 12, f"\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK} {figure}" if cut else figure, 12, INK
        )
