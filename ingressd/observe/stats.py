"""WorkerStats: what one worker has counted.

In: Entries, and the attributes that others raise and lower. Out: plain numbers that add up over workers. Every label is
a word of the routing table, never of a client, and the number of series is bounded.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

from ingressd.observe.entry import Entry
from ingressd.observe.stream_stats import StreamStats, add_streams
from ingressd.table.route import Route

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms; the last bucket has none."""
_LEAST_S = BOUNDS_S[0]
_OK = 200
SERIES = 100_000
"""Counts of requests by route, status and reason. What is beyond is counted as route `other`."""
TIMED_ROUTES = 1_000
"""Routes with histograms of their own, 36 lines of /metrics each; the times of the rest are in route `other`."""

Labels = tuple[str, str, str, str, str]
"""Host, id, namespace, ingress and service of a route."""

UNROUTED: Labels = ("", "", "", "", "")
OTHER: Labels = ("", "other", "", "", "")

_HISTOGRAMS = frozenset({"durations", "upstream_durations"})


class _Times:
    """One histogram of durations."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0


class _Series:
    """What was counted of one route."""

    __slots__ = ("answers", "durations", "ok", "owner", "upstream_durations")

    def __init__(self, owner: WorkerStats, durations: _Times, upstream_durations: _Times) -> None:
        self.owner = owner
        self.ok = 0
        """Answers of endpoints with status 200: nearly all."""
        self.answers: dict[tuple[int, str], int] = {}
        self.durations = durations
        self.upstream_durations = upstream_durations


class WorkerStats:
    """Counters and gauges of a worker. `finished` takes about 1 us, however many routes there are."""

    __slots__ = (
        "_all",
        "_other",
        "_room",
        "_unrouted",
        "accept_pauses_total",
        "access_log_dropped_total",
        "bytes_in_total",
        "bytes_out_total",
        "connections_open",
        "connections_refused_total",
        "connections_total",
        "filter_events",
        "handshake_failures_total",
        "handshake_timeouts_total",
        "proxy_headers_missed_total",
        "retries_total",
        "streams",
        "tunnels_open",
        "upstream_connects_total",
    )

    def __init__(self) -> None:
        self.connections_open = 0
        self.connections_total = 0
        self.connections_refused_total = 0
        """Closed when they were accepted: their client had enough, or no descriptor was left."""
        self.accept_pauses_total = 0
        """Times that the worker was full, or without descriptors."""
        self.handshake_timeouts_total = 0
        self.handshake_failures_total = 0
        """Of those that sent something: no TLS, nothing in common, no certificate for the name, an alert."""
        self.proxy_headers_missed_total = 0
        """Connections of trusted proxies that did not begin with a PROXY header."""
        self.tunnels_open = 0
        self.retries_total = 0
        self.upstream_connects_total = 0
        self.access_log_dropped_total = 0
        """Set by the worker when it exports: the access log keeps the count."""
        self.bytes_in_total = 0
        self.bytes_out_total = 0
        self.streams = StreamStats()
        self.filter_events: dict[str, int] = {}
        """What filters count, by their words for it."""
        self._room = SERIES
        self._other = _Series(self, _Times(), _Times())
        self._unrouted = _Series(self, _Times(), _Times())
        self._all: dict[Labels, _Series] = {UNROUTED: self._unrouted, OTHER: self._other}

    def finished(self, entry: Entry) -> None:
        """Count one request that has ended."""
        route = entry.route
        series: _Series | None = self._unrouted if route is None else route.tally
        if series is None or series.owner is not self:
            assert route is not None
            series = self._find(route)
        if entry.status == _OK and not entry.reason:
            series.ok += 1
        else:
            answer = (entry.status, entry.reason)
            try:
                series.answers[answer] += 1
            except KeyError:
                self._first(series, answer)
        self.bytes_in_total += entry.bytes_in
        self.bytes_out_total += entry.bytes_out
        seconds = entry.duration_s
        times = series.durations
        times.buckets[0 if seconds <= _LEAST_S else bisect_left(BOUNDS_S, seconds)] += 1
        times.seconds += seconds
        upstream_s = entry.upstream_duration_s
        if upstream_s is not None:
            times = series.upstream_durations
            times.buckets[0 if upstream_s <= _LEAST_S else bisect_left(BOUNDS_S, upstream_s)] += 1
            times.seconds += upstream_s

    def export(self) -> dict[str, Any]:
        """A copy in plain types: numbers; requests by route, then status and reason; seconds and buckets by route."""
        durations: dict[Labels, tuple[float, ...]] = {}
        upstream_durations: dict[Labels, tuple[float, ...]] = {}
        requests: dict[Labels, dict[tuple[int, str], int]] = {}
        for labels, series in self._all.items():
            if series.answers:
                requests[labels] = dict(series.answers)
            if series.ok:
                requests.setdefault(labels, {})[_OK, ""] = series.ok
            if series is self._other or series.durations is not self._other.durations:
                for times, into in (
                    (series.durations, durations),
                    (series.upstream_durations, upstream_durations),
                ):
                    if any(times.buckets):
                        into[labels] = (times.seconds, *times.buckets)
        return {
            "connections_open": self.connections_open,
            "connections_total": self.connections_total,
            "connections_refused_total": self.connections_refused_total,
            "accept_pauses_total": self.accept_pauses_total,
            "handshake_timeouts_total": self.handshake_timeouts_total,
            "handshake_failures_total": self.handshake_failures_total,
            "proxy_headers_missed_total": self.proxy_headers_missed_total,
            "tunnels_open": self.tunnels_open,
            "retries_total": self.retries_total,
            "upstream_connects_total": self.upstream_connects_total,
            "access_log_dropped_total": self.access_log_dropped_total,
            "bytes_in_total": self.bytes_in_total,
            "bytes_out_total": self.bytes_out_total,
            "requests": requests,
            "durations": durations,
            "upstream_durations": upstream_durations,
            "streams": self.streams.export(),
            "filter_events": dict(self.filter_events),
        }

    def _find(self, route: Route) -> _Series:
        """The series of a route that is new, or that came anew with a reload."""
        labels = (route.host, route.id, route.namespace, route.ingress, route.service)
        series = self._all.get(labels)
        if series is None:
            if self._room <= 0:
                return self._other
            self._room -= 1
            other = self._other
            timed = len(self._all) - 2 < TIMED_ROUTES
            series = self._all[labels] = _Series(
                self, _Times() if timed else other.durations, _Times() if timed else other.upstream_durations
            )
        object.__setattr__(route, "tally", series)
        return series

    def _first(self, series: _Series, answer: tuple[int, str]) -> None:
        """Count an answer that this series has not seen yet."""
        if self._room <= 0:
            series = self._other
        else:
            self._room -= 1
        status, reason = answer
        # A plain string: what is exported is read without the enum of reasons.
        answer = (status, str(reason))
        series.answers[answer] = series.answers.get(answer, 0) + 1


def add(exports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One export that is the sum of several."""
    total = WorkerStats().export()
    for export in exports:
        for name, value in export.items():
            if name == "requests":
                for labels, answers in value.items():
                    counts = total[name].setdefault(labels, {})
                    for answer, count in answers.items():
                        counts[answer] = counts.get(answer, 0) + count
            elif name == "filter_events":
                for event, count in value.items():
                    total[name][event] = total[name].get(event, 0) + count
            elif name == "streams":
                add_streams(total[name], value)
            elif name in _HISTOGRAMS:
                times = total[name]
                for labels, numbers in value.items():
                    known = times.get(labels)
                    times[labels] = numbers if known is None else tuple(map(operator.add, known, numbers))
            else:
                total[name] += value
    return total
