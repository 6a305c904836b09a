"""SVG: the paper, the ink and the words that the charts have in common. Pure; no library draws them.

In: sizes, places, texts. Out: elements. The paper is drawn, so that a chart reads on light and on dark pages alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

MARGIN, TITLE_H = 20, 56
INK, MUTED, PAPER = "#1f2328", "#59636e", "#ffffff"
OWN, OTHER = "#0969da", "#afb8c1"
"""Colours of the project and of the others: dark and light, so that they differ without colour, too."""

_FONT = "font-family=\"ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""


def page(width: int, height: int, title: str, subtitle: str, elements: Iterable[str]) -> str:
    """The whole file: paper, title, a line below it, and the elements."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(title)} {_FONT}>',
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
        text(MARGIN, MARGIN + 18, title, 18, INK, bold=True),
        text(MARGIN, MARGIN + 38, subtitle, 12, MUTED),
        *elements,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def text(x: float, y: float, words: str, size: int, fill: str, bold: bool = False, anchor: str = "start") -> str:
    """Words that begin at `x`, or have their middle or end there."""
    weight = ' font-weight="600"' if bold else ""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{weight}{where}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1.0, dashes: str = "") -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" '
        f'stroke="{stroke}" stroke-width="{width:g}"{dashed}/>'
    )
