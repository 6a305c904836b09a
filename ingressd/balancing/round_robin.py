"""Round robin (IPVS rr): each target in turn."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Generic

from ingressd.balancing.base import T


class RoundRobin(Generic[T]):
    """Each target in turn, from a random start, so that workers do not all begin with the same one."""

    __slots__ = ("_next", "_targets")

    def __init__(self) -> None:
        self._targets: Sequence[T] = ()
        self._next = random.randrange(1 << 16)

    def update(self, targets: Sequence[T]) -> None:
        """The turn goes on at the same place."""
        self._targets = tuple(target for target in targets if target.weight > 0)

    def pick(self, tried: Collection[T]) -> T | None:
        """The next target in turn that was not tried."""
        targets = self._targets
        count = len(targets)
        for turn in range(self._next + 1, self._next + 1 + count):
            target = targets[turn % count]
            if target not in tried:
                if not tried:
                    # A second attempt takes nobody's turn: else every request would begin at an endpoint that is down.
                    self._next = turn
                return target
        return None
