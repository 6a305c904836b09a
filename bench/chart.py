"""Chart: CPU a request as an SVG: a panel for each workload, a bar for each proxy.

In: results. Out: the text of an SVG that reads on light and dark pages alike. Pure; no library draws it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from bench.results import Results, Spread
from bench.workloads import Workload

CHARTED = ("get", "get-tls", "body-10k", "new-connection", "websocket", "routes-10k")
"""Six panels are what a page can take; the rest is in the table."""
CUT = 8.0
"""A bar ends at so many times the project's own, with its figure beside it, so that short ones stay readable."""

_COLUMNS = 2
_PANEL_W, _BAR_H, _BAR_GAP = 440, 16, 6
_NAME_W, _FIGURE_W = 70, 90
_MARGIN, _TITLE_H, _PANEL_TITLE_H, _PANEL_GAP = 20, 56, 26, 22
_INK, _MUTED, _PAPER = "#1f2328", "#59636e", "#ffffff"
_OWN_BAR, _PEER_BAR, _SPREAD = "#0969da", "#afb8c1", "#1f2328"
_FONT = "font-family=\"ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""


def chart(results: Results, own: str, peers: Sequence[str], workloads: Sequence[Workload]) -> str:
    """The SVG of those charted workloads that were measured."""
    panels = [
        (workload, bars)
        for workload in workloads
        if workload.name in CHARTED and (bars := _bars(results, peers, workload.name))
    ]
    panel_h = _PANEL_TITLE_H + len(peers) * (_BAR_H + _BAR_GAP) + _PANEL_GAP
    rows = -(-len(panels) // _COLUMNS)
    width = 2 * _MARGIN + _COLUMNS * _PANEL_W
    height = 2 * _MARGIN + _TITLE_H + rows * panel_h
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="CPU microseconds a request" {_FONT}>',
        f'<rect width="{width}" height="{height}" rx="8" fill="{_PAPER}"/>',
        _text(_MARGIN, _MARGIN + 18, "CPU a request, in microseconds: less is better", 18, _INK, bold=True),
        _text(_MARGIN, _MARGIN + 38, _subtitle(results), 12, _MUTED),
    ]
    for number, (workload, bars) in enumerate(panels):
        x = _MARGIN + number % _COLUMNS * _PANEL_W
        y = _MARGIN + _TITLE_H + number // _COLUMNS * panel_h
        lines += _panel(x, y, workload.title, bars, own, peers)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bars(results: Results, peers: Sequence[str], workload: str) -> Mapping[str, Spread]:
    found = {peer: results.spread(workload, peer, "cpu_us") for peer in peers}
    return {peer: spread for peer, spread in found.items() if spread is not None}


def _subtitle(results: Results) -> str:
    rounds = results.settings.get("rounds", "?")
    return (
        f"user and system time of all its processes, one core, {rounds} rounds; the line is the spread over the rounds"
    )


def _panel(x: int, y: int, title: str, bars: Mapping[str, Spread], own: str, peers: Sequence[str]) -> Iterator[str]:
    yield _text(x, y + 14, title, 13, _INK, bold=True)
    highest_us = max(spread.high for spread in bars.values())
    if own in bars:
        highest_us = min(highest_us, CUT * bars[own].median)
    per_us = (_PANEL_W - _NAME_W - _FIGURE_W - _MARGIN) / highest_us if highest_us else 0.0
    for number, peer in enumerate(peers):
        top = y + _PANEL_TITLE_H + number * (_BAR_H + _BAR_GAP)
        yield _text(x, top + 12, peer, 12, _INK, bold=peer == own)
        if peer not in bars:
            yield _text(x + _NAME_W, top + 12, "not measured", 11, _MUTED)
            continue
        spread = bars[peer]
        cut = spread.median > highest_us
        length = min(spread.median, highest_us) * per_us
        yield (
            f'<rect x="{x + _NAME_W}" y="{top}" width="{length:.1f}" height="{_BAR_H}" rx="2" '
            f"fill={quoteattr(_OWN_BAR if peer == own else _PEER_BAR)}/>"
        )
        if not cut:
            low, high = (x + _NAME_W + min(end, highest_us) * per_us for end in (spread.low, spread.high))
            middle = top + _BAR_H / 2
            yield (
                f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" '
                f'stroke="{_SPREAD}" stroke-width="1.5"/>'
            )
        figure = f"{spread.median:,.1f}" if spread.median < 1000 else f"{spread.median:,.0f}"
        end = x + _NAME_W + length if cut else x + _NAME_W + max(length, min(spread.high, highest_us) * per_us)
        yield _text(
            end + 6, top + 12, f"\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK} {figure}" if cut else figure, 12, _INK
        )


def _text(x: float, y: float, text: str, size: int, fill: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{weight}>{escape(text)}</text>'
