"""Round robin (IPVS rr): each target in turn."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
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

    def pick(self, tried: Container[T]) -> T | None:
        """The next target in turn that was not tried."""
        targets = self._targets
        count = len(targets)
        for _ in range(count):
            self._next += 1
            target = targets[self._next % count]
            if target not in tried:
                return target
        return None
