"""Report: results as text: a table for each workload, the figures, the targets, what is missing.

In: results, in memory or read from a JSON file. Out: lines. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench import series
from bench.results import Results, Spread
from bench.targets import Verdict
from bench.workloads import Workload

_HEAD = ("", "CPU us/req", "spread", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "RSS MiB", "busy", "errors", "ratio", "")


def report(
    results: Results,
    own: str,
    peers: Sequence[str],
    workloads: Sequence[Workload],
    verdicts: Sequence[Verdict],
    pairs: Sequence[tuple[str, str]] = series.PAIRS,
) -> str:
    """The whole report. Of a pair, the second one is said in times of the first."""
    lines = [*_header(results)]
    for workload in workloads:
        lines += ["", f"{workload.name}: {workload.title} ({workload.scenario.label})"]
        lines += table([_HEAD, *(_row(results, own, peer, workload) for peer in peers)])
    lines += _figures(results, peers)
    lines += _pairs(results, peers, pairs)
    lines += ["", "targets (median of the rounds; CPU a request)"]
    lines += table([_verdict(verdict) for verdict in verdicts])
    if results.gaps:
        lines += ["", "not measured"]
        lines += table([(gap.workload or "everything", gap.peer, gap.reason) for gap in results.gaps])
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be; the first and the last one to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    last = len(widths) - 1
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column in (0, last) or not _is_number(cell) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell == "-" or cell in _HEAD[1:]


def _header(results: Results) -> Iterator[str]:
    machine, settings = results.machine, results.settings
    yield f"{machine.get('cpu', 'unknown CPU')}, {machine.get('cores', '?')} cores, Linux {machine.get('kernel', '?')}"
    yield ", ".join(f"{name} {version}" for name, version in results.versions.items())
    yield ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in settings.items())


def _row(results: Results, own: str, peer: str, workload: Workload) -> tuple[str, ...]:
    cpu = results.spread(workload.name, peer, "cpu_us")
    if cpu is None:
        return (peer, *[""] * (len(_HEAD) - 2), results.gap(workload.name, peer))

    def median(attribute: str) -> float:
        spread = results.spread(workload.name, peer, attribute)
        return spread.median if spread else 0.0

    ratio = results.ratio(workload.name, own, workload.name, peer) if peer != own else None
    rounds = results.of(workload.name, peer)
    notes = dict.fromkeys(one.error_note for one in rounds if one.error_note)
    return (
        peer,
        f"{cpu.median:.1f}",
        f"{cpu.low:.1f}..{cpu.high:.1f}",
        f"{median('requests_s'):,.0f}" if median("requests_s") >= 100 else f"{median('requests_s'):.2f}",
        *(f"{median(name) / 1000:.2f}" for name in ("p50_us", "p99_us", "p999_us")),
        f"{median('rss_bytes') / 2**20:.0f}",
        f"{median('busy'):.0%}",
        str(sum(one.errors for one in rounds)),
        f"{own} = {_spread(ratio)} x" if ratio else "",
        "; ".join(notes),
    )


def _figures(results: Results, peers: Sequence[str]) -> Iterator[str]:
    names = dict.fromkeys(figure.name for figure in results.figures)
    if not names:
        return
    units = {figure.name: figure.unit for figure in results.figures}
    yield ""
    yield "figures (median of the rounds, low..high)"
    rows = [("", *peers, "")]
    for name in names:
        found = [results.figure(name, peer) for peer in peers]
        rows.append((name, *(_spread(one, "-") for one in found), units[name]))
    yield from table(rows)


def _pairs(results: Results, peers: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    rows = [
        (f"{more} / {less}", peer, _spread(ratio), f"{len(results.of(more, peer))} rounds")
        for less, more in pairs
        for peer in peers
        if (ratio := results.ratio(more, peer, less, peer)) is not None
    ]
    if rows:
        yield ""
        yield "pairs (CPU; both sides in each round, there and back; median of the rounds' ratios, low..high)"
        yield from table(rows)


def _verdict(verdict: Verdict) -> tuple[str, str, str]:
    return (verdict.target.title, _spread(verdict.ratio, "-"), verdict.word)


def _spread(spread: Spread | None, without: str = "") -> str:
    """`1.52 (1.50..1.55)`."""
    if spread is None:
        return without
    if spread.low == spread.high:
        return f"{spread.median:.2f}"
    return f"{spread.median:.2f} ({spread.low:.2f}..{spread.high:.2f})"
