"""Maglev: by the client's address, with a table that hardly changes when a target comes or goes.

Each target has an order of its own in which it wants the slots; they take turns, each the first slot of its order that
is free. Precedent: Eisenbud et al., Maglev (NSDI 2016), section 3.4; the same as IPVS mh.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Generic

from ingressd.balancing.base import Request, T
from ingressd.balancing.hashing import digest, shares

SLOTS = 4093
"""A prime, and always the same one: another would move everybody. IPVS mh has it too. Up to some 40 targets the parts
are even to a percent, beyond they differ more."""


class Maglev(Generic[T]):
    """A client stays with its target; those of a target that leaves are spread over the others."""

    __slots__ = ("_parts", "_table", "_targets")

    def __init__(self, dice: random.Random) -> None:
        """No chance is in it."""
        self._targets: Sequence[T] = ()
        self._parts: Sequence[int] = ()
        self._table: Sequence[T] = ()
        """Empty until somebody asks."""

    def update(self, targets: Mapping[T, int]) -> None:
        """The table will be much the same as before: that is what the algorithm is for."""
        served = sorted((target for target, weight in targets.items() if weight > 0), key=lambda target: target.key)
        served = served[:SLOTS]
        parts = shares([targets[target] for target in served], SLOTS)
        if (served, parts) != (self._targets, self._parts):
            self._targets, self._parts, self._table = served, parts, ()

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The slot's target, or that of the next slot whose target was not tried."""
        table = self._table
        if not table:
            if not self._targets:
                return None
            # Some 2 ms and 32 KiB, which only a pool that has requests has to pay.
            table = self._table = filled(self._targets, self._parts)
        place = digest(request.client_address) % SLOTS
        target = table[place]
        if target not in tried:
            return target
        if all(each in tried for each in self._targets):
            return None
        return next(each for step in range(SLOTS) if (each := table[(place + step) % SLOTS]) not in tried)


def filled(targets: Sequence[T], parts: Sequence[int]) -> Sequence[T]:
    """The table. In a round each target takes as many slots as its part says."""
    places = [digest(target.key, b"offset") % SLOTS for target in targets]
    steps = [digest(target.key, b"step") % (SLOTS - 1) + 1 for target in targets]
    table: list[T | None] = [None] * SLOTS
    left = SLOTS
    while True:
        for number, target in enumerate(targets):
            step = steps[number]
            place = places[number]
            for _ in range(parts[number]):
                while table[place] is not None:
                    place = (place + step) % SLOTS
                table[place] = target
                left -= 1
                if not left:
                    return tuple(each for each in table if each is not None)
            places[number] = place
