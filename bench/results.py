"""Results: everything that one run found out, and the arithmetic of its ratios. Pure.

In: measurements, gaps, figures. Out: spreads, ratios, and one JSON value of it all.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1
"""Of the JSON file; grows when a field changes its meaning."""
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One workload on one proxy in one round."""

    workload: str
    peer: str
    round: int
    unit: str
    requests: int
    seconds: float
    cpu_us: float
    """CPU of all the proxy's processes for one request, in microseconds: user and system."""
    requests_s: float
    busy: float
    """Share of one core that the proxy used; 1 = it was what limited the rate."""
    p50_us: float
    p99_us: float
    p999_us: float
    rss_bytes: int
    errors: int
    error_note: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """What could not be measured, and why. Nothing is left out without one."""

    workload: str
    """Empty = everything of that peer."""
    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A value that is not a cost a request: a time to start, a size in memory."""

    name: str
    peer: str
    round: int
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, and its ends."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class Results:
    """What a run has found so far."""

    machine: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Results:
        """What to_json wrote. Raises ValueError, KeyError or TypeError for anything else."""
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']}, not {FORMAT}")
        return cls(
            value["machine"],
            value["settings"],
            value["versions"],
            [Measurement(**one) for one in value["measurements"]],
            [Gap(**one) for one in value["gaps"]],
            [Figure(**one) for one in value["figures"]],
        )

    def of(self, workload: str, peer: str) -> list[Measurement]:
        """Its measurements, by round."""
        found = [one for one in self.measurements if (one.workload, one.peer) == (workload, peer)]
        return sorted(found, key=lambda one: one.round)

    def spread(self, workload: str, peer: str, attribute: str) -> Spread | None:
        """Of one attribute over the rounds; None where nothing was measured."""
        values = [float(getattr(one, attribute)) for one in self.of(workload, peer)]
        return Spread.of(values) if values else None

    def ratio(self, workload: str, peer: str, to_workload: str, to_peer: str) -> Spread | None:
        """CPU a request of the first by that of the second, round by round; None where a side is missing."""
        others = {one.round: one.cpu_us for one in self.of(to_workload, to_peer)}
        ratios = [one.cpu_us / others[one.round] for one in self.of(workload, peer) if others.get(one.round, 0.0) > 0]
        return Spread.of(ratios) if ratios else None

    def rounds(self, name: str, peer: str) -> int:
        """In how many rounds a workload was measured, or a study whose figures begin with its name."""
        of_study = {one.round for one in self.figures if one.peer == peer and one.name.startswith(f"{name} (")}
        return len(self.of(name, peer)) or len(of_study)

    def note_unreached(self, names: Iterable[str], peers: Sequence[str], rounds: int, reason: str) -> None:
        """A gap for everything that has too few rounds and none yet, after a run that ended early."""
        for name in names:
            for peer in peers:
                reached = self.rounds(name, peer)
                if reached < rounds and self.gap(name, peer) == NOT_MEASURED:
                    self.gaps.append(Gap(name, peer, f"{reached} of {rounds} rounds: {reason}" if reached else reason))

    def figure(self, name: str, peer: str) -> Spread | None:
        """Of a figure over the rounds."""
        values = [one.value for one in self.figures if (one.name, one.peer) == (name, peer)]
        return Spread.of(values) if values else None

    def gap(self, workload: str, peer: str) -> str:
        """Why a cell is empty."""
        reasons = [gap.reason for gap in self.gaps if gap.peer == peer and gap.workload in ("", workload)]
        return reasons[0] if reasons else NOT_MEASURED

    def to_json(self, own: str, peers: Iterable[str], workloads: Iterable[str]) -> dict[str, Any]:
        """Everything, with the ratios of `own` to each of the others. Targets are added by whoever knows them."""
        ratios = [
            {"workload": workload, "peer": peer, **asdict(ratio)}
            for workload in workloads
            for peer in peers
            if peer != own and (ratio := self.ratio(workload, own, workload, peer)) is not None
        ]
        return {"format": FORMAT, **asdict(self), "ratios": ratios}
