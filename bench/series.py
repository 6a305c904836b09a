"""Series: the same work beside more and more of something. ALL is what the growth chart shows; PAIRS what is compared.

In: nothing. Out: names of workloads. The two sides of a pair are measured in turn within each round.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """One line of the growth chart. Its first point is what the others are compared with."""

    title: str
    axis: str
    """What grows."""
    per: str
    """What the CPU is counted for."""
    points: tuple[tuple[int, str], ...]
    """How many there are -> the workload that is measured beside them."""

    @property
    def first(self) -> str:
        """The workload of the smallest."""
        return self.points[0][1]

    @property
    def last(self) -> str:
        """The workload of the largest."""
        return self.points[-1][1]


ALL: tuple[Series, ...] = (
    Series(
        "Layer 7, beside Services that nobody asks",
        "Services",
        "request",
        ((10, "services-10"), (1_000, "services-1000"), (50_000, "services-50000")),
    ),
    Series(
        "Layer 4, beside Services that nobody asks",
        "Services",
        "connection",
        ((10, "l4-services-10"), (1_000, "l4-services-1000"), (50_000, "l4-services-50000")),
    ),
    Series(
        "Hosts with two paths, each asked in turn",
        "hosts",
        "request",
        ((10, "routes-10"), (1_000, "routes-1k"), (10_000, "routes-10k"), (50_000, "routes-50k")),
    ),
    Series(
        "Paths of one host, each asked in turn",
        "paths",
        "request",
        ((10, "paths-10"), (10_000, "paths-10k")),
    ),
)

PAIRS: tuple[tuple[str, str], ...] = (
    ("get", "get-log"),
    ("get", "get-2-workers"),
    ("chain-bare", "chain"),
    *((series.first, name) for series in ALL for _count, name in series.points[1:]),
)
"""What is less -> what is more, with a ratio that is near one, so that a drift of the machine would show in it."""

GROUPS: dict[str, tuple[str, ...]] = {
    "growth": tuple(name for series in ALL for _count, name in series.points),
    "pairs": tuple(dict.fromkeys(name for pair in PAIRS for name in pair)),
}
"""Names that stand for several workloads."""
