"""Ledger: what clients did, what failed, and which failures a kill explains.

In: successes, failures and kills with their moments. Out: counts, and the failures that nothing explains.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

EXPLAINED_S = 2.0
"""A connection to a worker that was killed is gone at once; a busy client may notice it later."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that a client did not get. Moments in seconds of the monotonic clock."""

    client: str
    what: str
    opened_at: float
    """When its connection was opened."""
    at: float
    cut: bool
    """The connection was cut, which is all that a kill can do: a wrong answer has no excuse."""


class Ledger:
    """Of one soak."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.kills: list[float] = []
        """Of workers. To kill the controller or to reload may cost no client anything."""

    def unexplained(self) -> list[Failure]:
        return [failure for failure in self.failures if not self._explained(failure)]

    def _explained(self, failure: Failure) -> bool:
        return failure.cut and any(failure.opened_at <= kill <= failure.at <= kill + EXPLAINED_S for kill in self.kills)
