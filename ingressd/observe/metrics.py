"""Prometheus text over all workers (exposition format 0.0.4).

In: what the workers exported, also those that are gone, and what the controller knows. Out: bytes. Counters go on after
a worker is gone; gauges and endpoints are those of the workers that live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ingressd import __version__
from ingressd.errors import Severity
from ingressd.observe.pool_sums import PoolSum, endpoint_sums, pool_sums
from ingressd.observe.stats import BOUNDS_S, Labels, add
from ingressd.observe.stream_stats import OPEN, Numbers, add_streams
from ingressd.observe.stream_stats import Labels as StreamLabels
from ingressd.table.certificate import Certificate

Values = Mapping[tuple[str, ...], float]
"""Samples of one metric by the values of their labels."""

_ROUTE = ("host", "route", "namespace", "ingress", "service")
_BOUNDS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")

_COUNTERS = (
    ("connections_total", "Connections accepted from clients."),
    ("connections_refused_total", "Connections closed at accept: their client had enough, or no descriptor was left."),
    ("accept_pauses_total", "Times that accepting paused: the worker was full, or without descriptors."),
    ("handshake_timeouts_total", "TLS handshakes that took too long."),
    ("handshake_failures_total", "TLS handshakes that failed otherwise, of clients that sent something."),
    ("proxy_headers_missed_total", "Connections of trusted proxies that did not begin with a PROXY header."),
    ("retries_total", "Attempts beyond the first one of a request."),
    ("upstream_connects_total", "Connections dialled to endpoints."),
    ("access_log_dropped_total", "Lines of the access log that nobody took in time."),
)
_BYTES = (
    ("bytes_in_total", "request_body_bytes_total", "Bytes of request bodies, tunnels included."),
    ("bytes_out_total", "response_body_bytes_total", "Bytes of response bodies, tunnels included."),
)
_STREAM = ("namespace", "service", "port", "protocol")
_STREAM_COUNTERS = (
    (0, "stream_connections_total", "TCP connections and flows of datagrams to a Service's port."),
    (2, "stream_bytes_in_total", "Bytes from clients to a Service's port."),
    (3, "stream_bytes_out_total", "Bytes to clients from a Service's port."),
    (4, "stream_failures_total", "Attempts to reach an endpoint of a Service's port that failed."),
)
"""Place in stream_stats.Numbers, name and help."""
POOLS = 10_000
"""Pools with series of their own, as many as Service ports at layer 4 have; the rest are pool `other`."""
OTHER_POOL = "other"
_ENDPOINT_GAUGES = (
    ("active", "Requests in flight to an endpoint."),
    ("idle", "Kept connections to an endpoint that carry no request."),
)
_ENDPOINT_COUNTERS = (
    ("picks", "Attempts for which an endpoint was picked."),
    ("connects", "Connections made to an endpoint."),
    ("failures", "Attempts that failed at an endpoint."),
    ("ejections", "Times that a worker left an endpoint out for a while, for what requests met there."),
)
_BREAKER_GAUGES = (
    ("requests", "Requests that the breaker of a pool has let in and that have not ended."),
    ("pending", "Requests that wait until the breaker of a pool lets them in."),
)


class WorkerExport(Protocol):
    """What a worker has sent; process.link.Export is one."""

    @property
    def stats(self) -> Mapping[str, Any]:
        """WorkerStats.export()."""

    @property
    def edge(self) -> Mapping[str, int]:
        """Open connections by scheme."""

    @property
    def upstreams(self) -> Sequence[Mapping[str, Any]]:
        """Pools with their endpoints' statistics."""


@dataclass(frozen=True, slots=True)
class ControllerFacts:
    """What the controller adds to what the workers count."""

    generation: int
    reloads_total: int
    workers: int
    """Those that serve a snapshot."""
    faults: Sequence[Severity] = ()
    """The severity of each."""
    certificates: Sequence[Certificate] = ()
    reloaded_at: float | None = None
    """Epoch seconds of the last applied reload; None = none yet."""
    reload_s: float | None = None
    """How long it took."""
    checks: Sequence[tuple[str, str, bool]] = ()
    """Of each health check: whom it asks, what, and whether the answers say that it is healthy."""
    dns_queries: Values | None = None
    """Answers of the DNS server by type and response code; None = it is off."""


def render(workers: Sequence[WorkerExport], departed: Sequence[WorkerExport], facts: ControllerFacts) -> bytes:
    """All metrics. `workers` live, `departed` are gone. Takes about 10 us a line: not for an event loop."""
    return generate_latest(_Collector(workers, departed, facts))


class _Collector(Collector):
    """The metric families, in the order in which they are read best."""

    def __init__(
        self, workers: Sequence[WorkerExport], departed: Sequence[WorkerExport], facts: ControllerFacts
    ) -> None:
        self._workers = workers
        self._departed = departed
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Every family, also those without a sample."""
        total = add(export.stats for export in (*self._workers, *self._departed))
        yield from _controller(self._facts)
        yield from _requests(total)
        yield from _traffic(total, self._workers)
        events: dict[tuple[str, ...], float] = {(event,): count for event, count in total["filter_events"].items()}
        yield _counter("filter_events_total", "Events that filters of routes count.", ("event",), events)
        yield from _streams(total["streams"], self._workers)
        yield from _endpoints(self._workers, self._departed)
        yield from _pools(self._workers, self._departed)
        yield from _checks(self._facts.checks)


def _controller(facts: ControllerFacts) -> Iterator[Metric]:
    yield _gauge("build_info", "The version that runs.", ("version",), {(__version__,): 1.0})
    yield _gauge("workers", "Workers that serve.", (), _one(facts.workers))
    yield _gauge("generation", "Edits applied since the program started.", (), _one(facts.generation))
    yield _counter("reloads_total", "Reloads applied by this controller.", (), _one(facts.reloads_total))
    if facts.reloaded_at is not None and facts.reload_s is not None:
        yield _gauge(
            "reload_last_success_timestamp_seconds", "When the last reload was applied.", (), _one(facts.reloaded_at)
        )
        yield _gauge(
            "reload_last_duration_seconds", "From noticing the last edit to serving it.", (), _one(facts.reload_s)
        )
    faults: dict[tuple[str, ...], float] = {(str(severity),): 0 for severity in Severity}
    for severity in facts.faults:
        faults[(str(severity),)] += 1
    yield _gauge("faults", "Mistakes in the configuration.", ("severity",), faults)
    expiry: dict[tuple[str, ...], float] = {}
    for certificate in facts.certificates:
        labels = (certificate.origin, certificate.names[0] if certificate.names else "")
        expiry[labels] = min(certificate.not_after, expiry.get(labels, certificate.not_after))
    yield _gauge("certificate_not_after_seconds", "When a certificate expires.", ("origin", "name"), expiry)
    if facts.dns_queries is not None:
        yield _counter(
            "dns_queries_total", "Queries that the DNS server answered.", ("type", "rcode"), facts.dns_queries
        )


def _requests(total: Mapping[str, Any]) -> Iterator[Metric]:
    requests = {
        (*labels, str(status), reason): count
        for labels, answers in total["requests"].items()
        for (status, reason), count in answers.items()
    }
    yield _counter("requests_total", "Requests that have ended.", (*_ROUTE, "status", "reason"), requests)
    yield _histogram("request_duration_seconds", "From the head of a request to its end.", total["durations"])
    yield _histogram(
        "upstream_duration_seconds", "From the start of the last attempt to the end.", total["upstream_durations"]
    )


def _traffic(total: Mapping[str, Any], workers: Sequence[WorkerExport]) -> Iterator[Metric]:
    connections: dict[tuple[str, ...], float] = {}
    for worker in workers:
        for scheme, count in worker.edge.items():
            connections[(scheme,)] = connections.get((scheme,), 0) + count
    tunnels = sum(worker.stats["tunnels_open"] for worker in workers)
    yield _gauge("connections_open", "Connections with clients.", ("scheme",), connections)
    yield _gauge("tunnels_open", "Connections that were upgraded.", (), _one(tunnels))
    for name, text in _COUNTERS:
        yield _counter(name, text, (), _one(total[name]))
    for key, name, text in _BYTES:
        yield _counter(name, text, (), _one(total[key]))


def _streams(total: Mapping[StreamLabels, Numbers], workers: Sequence[WorkerExport]) -> Iterator[Metric]:
    living: dict[StreamLabels, Numbers] = {}
    for worker in workers:
        add_streams(living, worker.stats["streams"])
    still_open: dict[tuple[str, ...], float] = {labels: numbers[OPEN] for labels, numbers in living.items()}
    yield _gauge("stream_connections_open", "TCP connections and flows that are open.", _STREAM, still_open)
    for place, name, text in _STREAM_COUNTERS:
        yield _counter(name, text, _STREAM, {labels: numbers[place] for labels, numbers in total.items()})


def _endpoints(workers: Sequence[WorkerExport], departed: Sequence[WorkerExport]) -> Iterator[Metric]:
    """By address alone: several pools may list an endpoint, and they share its counters."""
    live, gone = endpoint_sums(workers), endpoint_sums(departed)
    known = sorted(live)
    for name, text in _ENDPOINT_GAUGES:
        yield _gauge(f"endpoint_{name}", text, ("endpoint",), {(key,): live[key].counts[name] for key in known})
    for name, text in _ENDPOINT_COUNTERS:
        totals: dict[tuple[str, ...], float] = {
            (key,): live[key].counts[name] + (gone[key].counts[name] if key in gone else 0) for key in known
        }
        yield _counter(f"endpoint_{name}_total", text, ("endpoint",), totals)
    healthy: dict[tuple[str, ...], float] = {(key,): live[key].healthy for key in known}
    yield _gauge("endpoint_healthy", "1 unless a health check says otherwise.", ("endpoint",), healthy)
    ejected: dict[tuple[str, ...], float] = {(key,): live[key].ejecting for key in known}
    yield _gauge("endpoint_ejected", "Workers that leave an endpoint out at the moment.", ("endpoint",), ejected)
    latency: dict[tuple[str, ...], float] = {
        (key,): milliseconds / 1000 for key in known if (milliseconds := live[key].latency_ms) is not None
    }
    text = "Moving average of the time to the head of an answer, over workers by their picks."
    yield _gauge("endpoint_latency_seconds", text, ("endpoint",), latency)


def _pools(workers: Sequence[WorkerExport], departed: Sequence[WorkerExport]) -> Iterator[Metric]:
    live = _bounded(pool_sums(workers))
    gone = pool_sums(departed)
    gauges: tuple[tuple[str, str, dict[tuple[str, ...], float]], ...] = (
        ("panic", "Workers in which so few endpoints are healthy that all are used.", _each(live, "panicking")),
        ("dialing", "Requests that wait for a connection to be made.", _each(live, "dialing")),
        ("retrying", "Requests in their second attempt or a later one.", _each(live, "retrying")),
    )
    for name, text, values in gauges:
        yield _gauge(f"pool_{name}", text, ("pool",), values)
    broken = {pool: total.breaker for pool, total in live.items() if total.breaker is not None}
    for name, text in _BREAKER_GAUGES:
        yield _gauge(f"pool_breaker_{name}", text, ("pool",), {(pool,): seen[name] for pool, seen in broken.items()})
    overflows: dict[tuple[str, ...], float] = {}
    for pool, seen in broken.items():
        before = gone[pool].breaker if pool in gone else None
        overflows[(pool,)] = seen["overflows"] + (0 if before is None else before["overflows"])
    yield _counter("pool_breaker_overflows_total", "Requests that a breaker refused.", ("pool",), overflows)


def _bounded(sums: Mapping[str, PoolSum]) -> dict[str, PoolSum]:
    """The first POOLS of them, and the rest as one."""
    names = sorted(sums)
    bounded = {name: sums[name] for name in names[:POOLS]}
    if names[POOLS:]:
        rest = bounded[OTHER_POOL] = PoolSum()
        for name in names[POOLS:]:
            rest.merge(sums[name])
    return bounded


def _each(sums: Mapping[str, PoolSum], name: str) -> dict[tuple[str, ...], float]:
    return {(pool,): getattr(total, name) for pool, total in sums.items()}


def _checks(checks: Iterable[tuple[str, str, bool]]) -> Iterator[Metric]:
    """Checks that differ in their times only have the same labels: it is healthy if all of them say so."""
    up: dict[tuple[str, ...], float] = {}
    for target, check, healthy in checks:
        up[(target, check)] = min(up.get((target, check), 1.0), float(healthy))
    yield _gauge("health_check_up", "1 while a health check says that what it asks is well.", ("target", "check"), up)


def _one(value: float) -> Values:
    return {(): value}


def _gauge(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    family = GaugeMetricFamily(f"ingressd_{name}", text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    family = CounterMetricFamily(f"ingressd_{name}", text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _histogram(name: str, text: str, times: Mapping[Labels, tuple[float, ...]]) -> Metric:
    family = HistogramMetricFamily(f"ingressd_{name}", text, labels=_ROUTE)
    for labels, (seconds, *counts) in times.items():
        buckets, below = [], 0.0
        for bound, count in zip(_BOUNDS, counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets, seconds)
    return family
