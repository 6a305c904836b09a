"""Kept: what the last run of the compiler made, for this one.

In: values by what they were made of. Out: the same values, as long as each run asks for them. Whether one still holds
is for the step that made it to say: docs/decisions/0012.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values of one kind. What a run does not keep again is gone after it."""

    def __init__(self) -> None:
        self._before: dict[K, V] = {}
        self._now: dict[K, V] = {}

    def turn(self) -> None:
        """A run begins."""
        self._before, self._now = self._now, {}

    def before(self, key: K) -> V | None:
        """What the last run kept."""
        return self._before.get(key)

    def keep(self, key: K, value: V) -> V:
        """Have it for the next run. Returns it."""
        self._now[key] = value
        return value
