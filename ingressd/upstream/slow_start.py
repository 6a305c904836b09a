"""Slow start: an endpoint that comes, or comes back, gets little at first and its whole share in the end.

In: which endpoints came, the scheduler's picks. Out: whether a pick stands, or another endpoint is picked instead: at
first one of ten stands, then more in a straight line. So it means the same with every scheduler, also with those that
know no weights, and no scheduler has to know of it (docs/decisions/0016).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from typing import Generic

from ingressd.balancing.base import Request, Scheduler, T

TURNS_MAX = 100
"""More turns in a row are passed over once in 37,000 times, and only where the others have next to no weight."""
FIRST = 0.1
"""The share of its share that an endpoint begins with. Envoy's min_weight_percent."""


class SlowStart(Generic[T]):
    """The endpoints of one pool that are still warming up."""

    __slots__ = ("_began", "_dice", "seconds", "turns")

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._began: dict[T, float] = {}
        self.seconds = 0.0
        """How long it takes; 0 = nobody warms up."""
        self.turns = False
        """Another pick is another turn, as with rr, or another draw; otherwise it is the same one again."""

    def __bool__(self) -> bool:
        return bool(self._began)

    def begin(self, targets: Iterable[T], now: float) -> None:
        """These have come."""
        if self.seconds:
            self._began.update(dict.fromkeys(targets, now))

    def keep(self, targets: Collection[T]) -> None:
        """Forget all others."""
        if self._began:
            self._began = {target: began for target, began in self._began.items() if self.seconds and target in targets}

    def share(self, target: T, now: float) -> float:
        """Of its picks, how many stand: 1 when it is warm."""
        began = self._began.get(target)
        if began is None:
            return 1.0
        age_s = now - began
        if age_s >= self.seconds:
            del self._began[target]
            return 1.0
        return FIRST + (1.0 - FIRST) * max(0.0, age_s) / self.seconds

    def pick(self, scheduler: Scheduler[T], tried: Collection[T], request: Request) -> T | None:
        """The scheduler's pick, or another one in its place."""
        passed: tuple[T, ...] = ()
        first = target = scheduler.pick(tried, request)
        for _ in range(TURNS_MAX):
            if target is None:
                return first  # all that are left are warming up
            share = self.share(target, request.began)
            if share >= 1.0 or self._dice.random() < share:
                return target
            if self.turns and not tried:
                target = scheduler.pick((), request)
            else:
                passed += (target,)
                target = scheduler.pick((*tried, *passed), request)
        return target
