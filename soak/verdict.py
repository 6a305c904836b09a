"""Verdict: the table of a soak, and what it fails on.

In: histories of processes, the ledger. Out: lines, and sentences about what must not be. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from soak.ledger import Ledger
from soak.samples import History
from soak.trend import slope, span_s

TEN_MINUTES_S = 600.0
RSS_GROWTH_MIB = 1.0
"""In ten minutes."""
DESCRIPTORS_GROWTH = 4.0
"""In ten minutes, under load that stays the same."""
JUDGED_S = TEN_MINUTES_S
"""A shorter series shows how allocators fill up, and no more."""
WARM_UP_S = 120.0
SHOWN_FAILURES = 10

_HEAD = (
    "role",
    "pid",
    "seconds",
    "RSS MiB first",
    "last",
    "most",
    "per 10 min",
    "fds",
    "most",
    "per 10 min",
    "threads",
)


def table(histories: Iterable[History]) -> list[str]:
    """A row for each process that lived longer than its warm-up."""
    rows = [_HEAD, *(_row(each) for each in histories if len(each.rss_kib) > 1)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _row(history: History) -> tuple[str, ...]:
    rss = [value / 1024 for _, value in history.rss_kib]
    descriptors = [value for _, value in history.descriptors]
    return (
        history.role,
        str(history.pid),
        f"{span_s(history.rss_kib):.0f}",
        f"{median(rss[:10]):.1f}",
        f"{median(rss[-10:]):.1f}",
        f"{max(rss):.1f}",
        f"{_rss_growth_mib(history):+.2f}",
        f"{median(descriptors):.0f}",
        f"{max(descriptors):.0f}",
        f"{_descriptors_growth(history):+.1f}",
        f"{max(value for _, value in history.threads):.0f}",
    )


def problems(histories: Sequence[History], ledger: Ledger, left_open: dict[str, int], log: str) -> list[str]:
    """What must not be. `left_open`: descriptors more than before the load, by process."""
    found = []
    for each in histories:
        who = f"{each.role} {each.pid}"
        if span_s(each.rss_kib) < JUDGED_S:
            continue
        if (growth := _rss_growth_mib(each)) > RSS_GROWTH_MIB:
            found.append(f"{who} grows by {growth:.2f} MiB in 10 minutes")
        if (growth := _descriptors_growth(each)) > DESCRIPTORS_GROWTH:
            found.append(f"{who} opens {growth:.1f} descriptors more in 10 minutes")
    found += [f"{who} has {count} descriptors more open than before the load" for who, count in left_open.items()]
    unexplained = ledger.unexplained()
    found += [f"{each.client}: {each.what}" for each in unexplained[:SHOWN_FAILURES]]
    if len(unexplained) > SHOWN_FAILURES:
        found.append(f"and {len(unexplained) - SHOWN_FAILURES} failures more that no kill explains")
    if "Traceback" in log:
        found.append("there is a traceback in the log")
    return found


def _rss_growth_mib(history: History) -> float:
    return slope(history.rss_kib) * TEN_MINUTES_S / 1024


def _descriptors_growth(history: History) -> float:
    return slope(history.descriptors) * TEN_MINUTES_S
