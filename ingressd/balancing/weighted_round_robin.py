"""Weighted round robin (IPVS wrr): in turn, and the heavier ones in more rounds.

With the weights 4, 2 and 1 a cycle is four rounds: the first is for those of weight 4 and more, then 3, 2, 1. The turns
of a heavy target are so interleaved with those of the others, and a cycle gives each exactly its weight.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Generic

from ingressd.balancing.base import Request, T
from ingressd.balancing.round_robin import place_after


class WeightedRoundRobin(Generic[T]):
    """In turn, each as often as its weight."""

    __slots__ = ("_dice", "_heaviest", "_last", "_level", "_step", "_targets", "_weights")

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._targets: Sequence[T] = ()
        self._weights: Sequence[int] = ()
        self._step = 1
        """The weights' greatest common divisor: no level between two multiples of it lets another target in."""
        self._heaviest = 0
        self._last = 0
        """Whose turn it was."""
        self._level = 0
        """This round is for weights of so much and more."""

    def update(self, targets: Mapping[T, int]) -> None:
        """The turn goes on after the target that had it last, at the level that the new weights have nearest."""
        before = self._targets
        served = {target: weight for target, weight in targets.items() if weight > 0}
        self._targets = tuple(served)
        self._weights = weights = tuple(served.values())
        self._last = place_after(before, self._last, self._targets, self._dice)
        self._step = step = math.gcd(*weights) or 1
        self._heaviest = heaviest = max(weights, default=0)
        level = self._level or step * self._dice.randint(1, max(1, heaviest // step))
        self._level = min(heaviest, -(-level // step) * step)

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The next target in turn whose weight reaches the level of its round."""
        targets, weights, level, place = self._targets, self._weights, self._level, self._last
        count = len(targets)
        # Rounds that nobody is left for are passed over at once: there may be as many of them as the heaviest weight.
        top = self._heaviest
        if tried:
            top = max(
                (weight for target, weight in zip(targets, weights, strict=True) if target not in tried), default=0
            )
        if not top:
            return None
        while True:
            place += 1
            if place >= count:
                place = 0
                level -= self._step
                if level <= 0:
                    level = self._heaviest
                level = min(level, top)
            if weights[place] >= level:
                target = targets[place]
                if not tried:
                    self._last, self._level = place, level
                    return target
                if target not in tried:
                    return target
