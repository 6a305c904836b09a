"""The schedulers that look for the least loaded target: lc, wlc, sed and nq of IPVS.

C are the requests in flight to a target and W is its weight. IPVS also counts connections that are about to close; a
proxy has none. Each worker process counts its own requests.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Generic

from ingressd.balancing.base import Request, T


class LeastLoad(Generic[T]):
    """The target of the least load; of several, the one that has waited longest.

    IPVS takes the first of several in the order of its list. Its connections linger after they end, so that the first
    one is not alone for long; ours do not, and an idle proxy would send everything to one endpoint.
    """

    __slots__ = ("_dice", "_queue", "_weights")

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._weights: dict[T, int] = {}
        self._queue: list[T] = []
        """The one that was picked last is the last one."""

    def update(self, targets: Mapping[T, int]) -> None:
        """Those that are new have waited longest, in an order that differs between workers."""
        self._weights = {target: weight for target, weight in targets.items() if weight > 0}
        stay = [target for target in self._queue if target in self._weights]
        new = [*(self._weights.keys() - {*stay})]
        new.sort(key=lambda target: target.key)  # a set has no order, and chance has to be repeatable
        self._dice.shuffle(new)
        self._queue = new + stay

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The least loaded one that was not tried."""
        queue = self._queue
        if tried:
            return min((target for target in queue if target not in tried), key=self.load, default=None)
        if not queue:
            return None
        target = min(queue, key=self.load)
        queue.remove(target)
        queue.append(target)
        return target

    def load(self, target: T) -> float:
        """What is compared."""
        raise NotImplementedError


class LeastConnection(LeastLoad[T]):
    """The fewest requests in flight: C."""

    __slots__ = ()

    def load(self, target: T) -> float:
        """See LeastLoad."""
        return target.active


class WeightedLeastConnection(LeastLoad[T]):
    """The fewest requests in flight for its weight: C/W."""

    __slots__ = ()

    def load(self, target: T) -> float:
        """See LeastLoad."""
        return target.active / self._weights[target]


class ShortestExpectedDelay(LeastLoad[T]):
    """The fewest requests for its weight when this one is there too: (C+1)/W."""

    __slots__ = ()

    def load(self, target: T) -> float:
        """See LeastLoad."""
        return (target.active + 1) / self._weights[target]


class NeverQueue(LeastLoad[T]):
    """An idle target whatever its weight; when there is none, the least (C+1)/W."""

    __slots__ = ()

    def load(self, target: T) -> float:
        """See LeastLoad."""
        active = target.active
        return (active + 1) / self._weights[target] if active else 0.0
