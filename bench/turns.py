"""Turns: in which order workloads are measured within a round, and one measurement out of several turns. Pure.

In: the workloads of a cluster, what each turn brought. Out: an order, a Measurement.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.clients.sample import Sample
from bench.results import Measurement
from bench.workloads import Workload


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a client, and what it cost the proxy."""

    sample: Sample
    used_s: float
    """CPU."""
    lasted_s: float
    rss_bytes: int


def order(workloads: Sequence[Workload], round_: int) -> list[Workload]:
    """Each once; those that are compared twice, there and back, and every second round from the other end.

    A B B A: a machine that becomes slower or faster meanwhile does so for both, and none always comes after the other.
    """
    there = list(workloads) if round_ % 2 else list(reversed(workloads))
    return [*there, *(workload for workload in reversed(there) if workload.compared)]


def turns_of(workload: Workload) -> int:
    """How often it comes in a round. They share its seconds."""
    return 2 if workload.compared else 1


def measurement(workload: Workload, peer: str, round_: int, turns: Sequence[Turn]) -> Measurement:
    """Sums, and means of what cannot be added up: the percentiles of the turns."""
    samples = [turn.sample for turn in turns]
    requests = sum(sample.requests for sample in samples)
    seconds = sum(sample.seconds for sample in samples)
    used_s = sum(turn.used_s for turn in turns)
    return Measurement(
        workload=workload.name,
        peer=peer,
        round=round_,
        unit=workload.unit,
        requests=requests,
        seconds=seconds,
        cpu_us=used_s * 1e6 / requests,
        requests_s=requests / seconds,
        busy=used_s / sum(turn.lasted_s for turn in turns),
        p50_us=statistics.fmean(sample.p50_us for sample in samples),
        p99_us=statistics.fmean(sample.p99_us for sample in samples),
        p999_us=statistics.fmean(sample.p999_us for sample in samples),
        rss_bytes=max(turn.rss_bytes for turn in turns),
        errors=sum(sample.errors for sample in samples),
        error_note="; ".join(dict.fromkeys(sample.error_note for sample in samples if sample.error_note)),
    )
