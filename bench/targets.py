"""Target: a ratio of CPU a request that the project has set itself. ALL is the list.

In: results. Out: for each target the measured ratio and whether it is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Results, Spread


@dataclass(frozen=True, slots=True)
class Target:
    """CPU a request of `workload` is at most `limit` times that of `to_workload` on `to_peer`."""

    workload: str
    to_workload: str
    to_peer: str
    limit: float

    @property
    def title(self) -> str:
        """`get <= 1.6 x nginx`, `get-log <= 1.25 x get`."""
        other = self.to_peer if self.workload == self.to_workload else f"own {self.to_workload}"
        return f"{self.workload} <= {self.limit:g} x {other}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target beside what was measured."""

    target: Target
    ratio: Spread | None
    """None = a side of it was not measured."""

    @property
    def word(self) -> str:
        """The median decides."""
        if self.ratio is None:
            return "not measured"
        return "met" if self.ratio.median <= self.target.limit else "MISSED"


def _against(workload: str, **limits: float) -> Iterator[Target]:
    for peer, limit in limits.items():
        yield Target(workload, workload, peer, limit)


def _against_own(workload: str, to_workload: str, limit: float) -> Target:
    return Target(workload, to_workload, "ingressd", limit)


ALL: tuple[Target, ...] = (
    *_against("get", nginx=1.6, envoy=0.8, traefik=0.6, caddy=0.35),
    *_against("get-tls", nginx=1.6, envoy=0.9),
    _against_own("get-log", "get", 1.25),
    *_against("body-10k", nginx=1.7, envoy=0.8),
    *_against("body-1m", envoy=1.2),
    *_against("post-64k", envoy=1.2),
    *_against("upload-100m", envoy=1.2),
    *_against("new-connection", nginx=2.0),
    _against_own("routes-50k", "routes-10", 1.05),
    _against_own("paths-10k", "paths-10", 1.1),
    _against_own("get-2-workers", "get", 1.1),
    _against_own("chain", "chain-bare", 1.35),
    *_against("l4-throughput", haproxy=2.0),
    *_against("l4-connections", haproxy=2.0),
    _against_own("services-50000", "services-10", 1.05),
    _against_own("l4-services-50000", "l4-services-10", 1.05),
)


def verdicts(results: Results, own: str) -> list[Verdict]:
    """Each target with its measured ratio."""
    return [Verdict(one, results.ratio(one.workload, own, one.to_workload, one.to_peer)) for one in ALL]
