"""The schedulers that draw lots: random, as kube-proxy's modes iptables and nftables, and the better of two draws."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Generic

from ingressd.balancing.base import Request, T


class RandomChoice(Generic[T]):
    """Any target, with the same probability for each."""

    __slots__ = ("_draw", "_targets")

    def __init__(self, dice: random.Random) -> None:
        self._draw = dice.random
        self._targets: Sequence[T] = ()

    def update(self, targets: Mapping[T, int]) -> None:
        """Kubernetes has no weights: only 0 counts."""
        self._targets = tuple(target for target, weight in targets.items() if weight > 0)

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """One draw."""
        targets = self._targets
        if tried:
            targets = [target for target in targets if target not in tried]
        return targets[int(self._draw() * len(targets))] if targets else None


class PowerOfTwoChoices(Generic[T]):
    """Of two targets that are drawn, the one with the fewer requests for its weight, (C+1)/W.

    Nearly as even as the least loaded of all, at the same cost for any number of them; and workers that cannot see each
    other's requests do not all run to the same target.
    """

    __slots__ = ("_draw", "_targets", "_weights")

    def __init__(self, dice: random.Random) -> None:
        self._draw = dice.random
        self._targets: Sequence[T] = ()
        self._weights: dict[T, int] = {}

    def update(self, targets: Mapping[T, int]) -> None:
        """Nothing is known but who they are."""
        self._weights = {target: weight for target, weight in targets.items() if weight > 0}
        self._targets = tuple(self._weights)

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The better of two different ones."""
        targets = self._targets
        if tried:
            targets = [target for target in targets if target not in tried]
        count = len(targets)
        if count < 2:
            return targets[0] if targets else None
        draw = self._draw
        first = int(draw() * count)
        second = int(draw() * (count - 1))
        one, other = targets[first], targets[second if second < first else second + 1]
        return one if self.load(one, request) <= self.load(other, request) else other

    def load(self, target: T, request: Request) -> float:
        """What is compared."""
        return (target.active + 1) / self._weights[target]
