"""Recent: what was found out lately, bounded in number and in time.

In: keys with what they stand for and until when. Out: the same, while it holds. When it is full, what was not asked
for the longest goes first, so that strangers who fill it cost only the work that it saves.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping that forgets. Times are monotonic seconds."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: K, now: float) -> V | None:
        """What is known of `key`; None when it is nothing, or too old."""
        entry = self._known.get(key)
        if entry is None:
            return None
        value, until = entry
        if now >= until:
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return value

    def put(self, key: K, value: V, until: float) -> None:
        """Know `value` up to a moment."""
        self._known[key] = (value, until)
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
