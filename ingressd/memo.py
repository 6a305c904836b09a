"""Memo: what was worked out before, kept for the next time, in a dict that is bounded.

In: a key that a client or an endpoint chose, and what came of it. Out: the same; the oldest are forgotten.
"""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

FORGOTTEN = 64
"""One in so many is forgotten at a time."""


def remember(memo: dict[K, V], key: K, value: V, most: int) -> V:
    """Keep `value`, and at most `most` of them. Returns it.

    A few are forgotten at a time. Were it all of them, a process would go up and down by megabytes, and its peak, when
    several memos happen to be full at once, could be hours away.
    """
    if len(memo) >= most and key not in memo:
        for old in tuple(islice(memo, most // FORGOTTEN + 1)):
            del memo[old]
    memo[key] = value
    return value
