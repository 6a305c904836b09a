"""Buckets: what clients have used of their limits, in memory that all workers of a crew share. No lock anywhere.

In: keys, and what a request costs. Out: whether it is within the limit, exact over all workers.

A token bucket says: of any moment s before now, no more than `burst + rate * (now - s)` was used since. With the use
counted in seconds (a request costs 1/rate), and N(s) the use until s, that is `N(now) - now <= burst + B`, where B is
the least `N(s) - s` there has been (the generic cell rate algorithm, ITU-T I.371, is the same rule). N is a sum and B
is a minimum: each worker writes numbers of its own only, and reads those of all. A request is written down first and
judged then, so that two that come at once see each other; what is refused is taken back. So a limit is never exceeded,
and at most the requests that were judged at the very same moment are refused too early.

A bucket that is full again is like a new one: its place is given to the next key, and nothing has to be cleared.
"""

from __future__ import annotations

import mmap
import os
import zlib
from struct import Struct
from typing import NamedTuple

WAYS = 8
"""Places among which a key may have its own."""
SETS = 8192
PLACES = SETS * WAYS
REMEMBERED = 65_536
"""Keys whose place a worker knows by heart."""
_EPSILON_S = 1e-6


class Shared(NamedTuple):
    """The memory, and who of how many a worker is."""

    memory: mmap.mmap | bytearray
    columns: int
    column: int


def size_bytes(columns: int) -> int:
    """How much memory `columns` workers share. Of it, only what is used takes room."""
    return PLACES * 8 * (1 + 3 * columns)


def shared_with(descriptor: int, columns: int, column: int) -> Shared:
    """The memory behind an open file, which is made as large as it has to be."""
    size = size_bytes(columns)
    os.ftruncate(descriptor, size)
    return Shared(mmap.mmap(descriptor, size), columns, column)


def private() -> Shared:
    """Memory of one worker alone."""
    return Shared(bytearray(size_bytes(1)), 1, 0)


class Buckets:
    """The buckets and the counts of what is open, as one worker sees them."""

    def __init__(self, shared: Shared) -> None:
        memory, self._columns, self._column = shared
        view = memoryview(memory)
        cells = PLACES * self._columns * 8
        self._row = Struct(f"{self._columns}d").unpack_from
        """The numbers of all workers for one place, faster than a slice of a view gives them."""
        self._tags = view[: PLACES * 8].cast("Q")
        start = PLACES * 8
        self._used = view[start : start + cells].cast("d")
        """Seconds used, by place and worker."""
        self._least = view[start + cells : start + 2 * cells].cast("d")
        """The least `use - time` that each worker has seen, by place and worker."""
        self._open = view[start + 2 * cells : start + 3 * cells].cast("q")
        """What is open now, by place and worker."""
        self._places: dict[str, tuple[int, int]] = {}
        self._forget_open()

    def take(self, key: str, cost_s: float, burst_s: float, now: float) -> float:
        """Use `cost_s` of the bucket of `key`, which holds `burst_s`. 0 if there was as much, else seconds until then.

        `now`: monotonic seconds, the clock of all processes of this machine.
        """
        place = self._place(key, now)
        used, least = self._used, self._least
        if self._columns == 1:  # nobody else writes, so one look is enough
            return self._take_alone(place, cost_s, burst_s, now)
        start = place * self._columns
        mine = start + self._column
        row, at = self._row, start * 8
        before = sum(row(used, at)) - now
        if before < least[mine]:
            least[mine] = before
        own = used[mine]
        used[mine] = own + cost_s
        over: float = sum(row(used, at)) - now - min(row(least, at)) - burst_s
        if over <= _EPSILON_S:
            return 0.0
        used[mine] = own
        return over

    def _take_alone(self, place: int, cost_s: float, burst_s: float, now: float) -> float:
        own = self._used[place]
        least = self._least[place]
        if own - now < least:
            self._least[place] = least = own - now
        over: float = own + cost_s - now - least - burst_s
        if over <= _EPSILON_S:
            self._used[place] = own + cost_s
            return 0.0
        return over

    def give_back(self, key: str, cost_s: float, now: float) -> None:
        """Undo a `take`: another limit has refused the request."""
        self._used[self._place(key, now) * self._columns + self._column] -= cost_s

    def enter(self, key: str, most: int, now: float) -> bool:
        """One more is open; False when `most` are already."""
        start = self._place(key, now) * self._columns
        opened = self._open
        opened[start + self._column] += 1
        if sum(opened[start : start + self._columns]) <= most:
            return True
        opened[start + self._column] -= 1
        return False

    def leave(self, key: str, now: float) -> None:
        """One of those that entered is no longer open."""
        mine = self._place(key, now) * self._columns + self._column
        if self._open[mine] > 0:
            self._open[mine] -= 1

    def _forget_open(self) -> None:
        """A worker that died has left what was open: it is not open any more."""
        opened = self._open
        for place, tag in enumerate(self._tags):
            if tag:
                opened[place * self._columns + self._column] = 0

    def _place(self, key: str, now: float) -> int:
        known = self._places.get(key)
        if known is not None:
            place, tag = known
            if self._tags[place] == tag:
                return place
        return self._find(key, now)

    def _find(self, key: str, now: float) -> int:
        data = key.encode("utf-8", "surrogateescape")
        high = zlib.crc32(data)
        # Two checksums of different starts: 64 bits that are the same in every process, and never 0.
        tag = high << 32 | zlib.crc32(data, 0x9E3779B9) | 1
        first = high % SETS * WAYS
        ways = range(first, first + WAYS)
        tags = self._tags
        place = next((way for way in ways if tags[way] == tag), None)
        if place is None:
            # The one that is full again the longest; if none is, the one that is the least in use.
            place = min(ways, key=lambda way: (self._is_open(way), self._debt_s(way, now)))
            tags[place] = tag
        if len(self._places) >= REMEMBERED:
            self._places.clear()
        self._places[key] = (place, tag)
        return place

    def _is_open(self, place: int) -> bool:
        start = place * self._columns
        return any(self._open[start : start + self._columns])

    def _debt_s(self, place: int, now: float) -> float:
        """How long until the bucket is full again; below 0: for how long it has been."""
        if not self._tags[place]:
            return float("-inf")
        start = place * self._columns
        end = start + self._columns
        return sum(self._used[start:end]) - now - min(self._least[start:end])
