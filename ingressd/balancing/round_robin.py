"""Round robin (IPVS rr): each target in turn."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Generic

from ingressd.balancing.base import Request, T


class RoundRobin(Generic[T]):
    """Each target in turn."""

    __slots__ = ("_dice", "_last", "_targets")

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._targets: Sequence[T] = ()
        self._last = 0
        """Whose turn it was."""

    def update(self, targets: Mapping[T, int]) -> None:
        """The turn goes on after the target that had it last, or the nearest before it that stays."""
        before = self._targets
        self._targets = tuple(target for target, weight in targets.items() if weight > 0)
        self._last = place_after(before, self._last, self._targets, self._dice)

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The next target in turn that was not tried."""
        targets = self._targets
        count = len(targets)
        if count and not tried:
            self._last = turn = (self._last + 1) % count
            return targets[turn]
        for turn in range(self._last + 1, self._last + 1 + count):
            target = targets[turn % count]
            if target not in tried:
                return target
        return None


def place_after(before: Sequence[T], last: int, after: Sequence[T], dice: random.Random) -> int:
    """The place in `after` of whoever had the turn in `before`, or of the nearest one before it that is still there.

    A random one when there is none, so that workers do not all begin with the same target.
    """
    places = {target: place for place, target in enumerate(after)}
    count = len(before)
    for turn in range(last, last - count, -1):
        place = places.get(before[turn % count])
        if place is not None:
            return place
    return dice.randrange(len(after)) if after else 0
