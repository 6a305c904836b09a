"""Targets and requests for tests of schedulers, and the test of Pearson for what chance deals out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingressd.balancing.registry import SCHEDULERS

CRITICAL = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 6: 22.46, 8: 26.12, 9: 27.88}
"""Degrees of freedom -> what chi-square exceeds once in 1000 times. Seeds are fixed: a test passes always or never."""


@dataclass(eq=False)
class Target:
    """An endpoint."""

    key: str
    active: int = 0
    latency_s: float = 0.0
    latency_at: float = 0.0

    def __repr__(self) -> str:
        return self.key


@dataclass(frozen=True)
class Request:
    """A request."""

    client_address: str = "192.0.2.1"
    host: str = "a.example"
    began: float = 1000.0


ONE = Request()


def targets(*weights: int) -> dict[Target, int]:
    """One for each weight."""
    return {Target(f"10.0.0.{number}:80"): weight for number, weight in enumerate(weights, 1)}


def scheduler(name: str, served: Mapping[Target, int], seed: int = 1):  # type: ignore[no-untyped-def]
    """It, with these targets."""
    made = SCHEDULERS[name](random.Random(seed))
    made.update(served)
    return made


def clients(count: int) -> list[Request]:
    """Requests of so many clients in networks of 256."""
    return [Request(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"h{n}.example", 1000.0 + n) for n in range(count)]


def chi_square(seen: Counter[Target], weights: Mapping[Target, int]) -> float:
    """How far what was seen is from what the weights promise."""
    total, whole = sum(seen.values()), sum(weights.values())
    expected = {target: total * weight / whole for target, weight in weights.items()}
    return sum((seen[target] - each) ** 2 / each for target, each in expected.items())


def even(seen: Counter[Target], weights: Mapping[Target, int]) -> bool:
    """Whether chance explains the difference."""
    return chi_square(seen, weights) < CRITICAL[len(weights) - 1]


def keys(picked: Sequence[Target]) -> list[str]:
    """Numbers of the targets."""
    return [each.key.split(":")[0].rsplit(".", 1)[1] for each in picked]
