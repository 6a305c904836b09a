"""StreamStats: what one worker has counted at layer 4, by Service port.

In: connections and flows, when they begin and end and between. Out: plain numbers that add up over workers. Labels are
words of the table, and their number is bounded.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping

from ingressd.table.stream import StreamListener

SERIES = 10_000
"""Service ports with counters of their own; what is beyond is counted as service `other`."""

Labels = tuple[str, str, str, str]
"""Namespace, name and port of a Service, and the protocol."""

Numbers = tuple[int, int, int, int, int]
"""Connections or flows, those that are open, bytes from clients, bytes to clients, attempts that failed."""

OTHER: Labels = ("", "other", "", "")
OPEN = 1
"""Place in Numbers of what only the living count."""


class StreamCount:
    """Of one Service port."""

    __slots__ = ("bytes_in", "bytes_out", "failures", "open", "total")

    def __init__(self) -> None:
        self.total = 0
        self.open = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.failures = 0

    def began(self) -> None:
        """A connection or flow begins."""
        self.total += 1
        self.open += 1

    def ended(self) -> None:
        """It is over."""
        self.open -= 1


class Meter:
    """Counts the bytes of one connection, as often as it is read: it may last for days."""

    __slots__ = ("_bytes_in", "_bytes_out", "_count")

    def __init__(self, count: StreamCount) -> None:
        self._count = count
        self._bytes_in = 0
        self._bytes_out = 0

    def read(self, bytes_in: int, bytes_out: int) -> None:
        """So many have passed since it began."""
        self._count.bytes_in += bytes_in - self._bytes_in
        self._count.bytes_out += bytes_out - self._bytes_out
        self._bytes_in, self._bytes_out = bytes_in, bytes_out


class StreamStats:
    """Counters of a worker."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[Labels, StreamCount] = {}

    def of(self, listener: StreamListener) -> StreamCount:
        """The counters that a listener's connections are counted by; several listeners of a Service port share them."""
        labels = (listener.namespace, listener.service, listener.service_port, listener.protocol)
        count = self._counts.get(labels)
        if count is None:
            if len(self._counts) >= SERIES:
                labels = OTHER
            count = self._counts.setdefault(labels, StreamCount())
        return count

    def export(self) -> dict[Labels, Numbers]:
        """A copy in plain types, without what has counted nothing."""
        return {
            labels: (count.total, count.open, count.bytes_in, count.bytes_out, count.failures)
            for labels, count in self._counts.items()
            if count.total or count.failures
        }


def add_streams(total: dict[Labels, Numbers], more: Mapping[Labels, Numbers]) -> None:
    """Add the export of one worker."""
    for labels, numbers in more.items():
        known = total.get(labels)
        if known is None:
            total[labels] = numbers
        else:
            one, two, three, four, five = map(operator.add, known, numbers)
            total[labels] = (one, two, three, four, five)
