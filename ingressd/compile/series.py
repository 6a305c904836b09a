"""Series: what was made of each object of a sequence, for a run whose sequence is the same but for a few objects.

In: the objects, in their order. Out: a value of each, made anew only for those that the last run had not. Of 20,000 an
edit changes one, and to ask each of them takes longer than all the rest of it: so each step tells the next one where
that was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import compress, count
from operator import is_not
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Line(NamedTuple, Generic[K]):
    """Objects in their order, and where they are others than those before."""

    now: tuple[K, ...]
    before: tuple[K, ...] = ()
    where: Sequence[int] | None = None
    """The places of all objects that are not the very same ones; None = there are more of them, or less."""

    @classmethod
    def of(cls, before: tuple[K, ...], now: tuple[K, ...]) -> Line[K]:
        """The one of two sequences."""
        if before is now:
            return cls(now, before, ())
        if len(before) != len(now):
            return cls(now, before)
        return cls(now, before, tuple(compress(count(), map(is_not, before, now))))

    @classmethod
    def edited(cls, before: tuple[K, ...], new_of: Mapping[int, K]) -> Line[K]:
        """The one with others at these places."""
        if not new_of:
            return cls(before, before, ())
        now = list(before)
        for place, new in new_of.items():
            now[place] = new
        return cls(tuple(now), before, tuple(new_of))

    def since(self, known: tuple[K, ...]) -> Line[K]:
        """The one from `known`, which is seldom another one than `before`: a run failed half-way."""
        return self if known is self.before else Line.of(known, self.now)


class Series(Generic[K, V]):
    """The objects of the last run, with the value of each. A value depends on nothing but its object."""

    def __init__(self) -> None:
        self.keys: tuple[K, ...] = ()
        self.values: tuple[V, ...] = ()

    def of(self, line: Line[K], make: Callable[[K], V], stale: Collection[K] = ()) -> Line[V]:
        """The values, in the order of their objects. Those of `stale` do not hold any more."""
        keys, before = line.now, self.values
        where = line.since(self.keys).where
        if where is None or stale:
            known = dict(zip(self.keys, before, strict=True))
            for key in stale:
                del known[key]
            values = tuple(known[key] if key in known else make(key) for key in keys)
            made = Line.of(before, values)
        else:
            made = Line.edited(before, {place: make(keys[place]) for place in where})
        # At last: a run that fails half-way leaves what there was.
        self.keys, self.values = keys, made.now
        return made


class Those(Generic[K]):
    """The objects of a sequence that something is true of."""

    def __init__(self, true_of: Callable[[K], object]) -> None:
        self._true_of = true_of
        self._series: Series[K, bool] = Series()
        self.found: tuple[K, ...] = ()
        """In their order."""

    def of(self, line: Line[K]) -> tuple[K, ...]:
        """All of them."""
        flags = self._series.of(line, lambda key: bool(self._true_of(key)))
        if flags.where is None or any(flags.before[place] or flags.now[place] for place in flags.where):
            self.found = tuple(compress(line.now, flags.now))
        return self.found
