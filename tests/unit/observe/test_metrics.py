"""Prometheus text, read back by Prometheus' own parser."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingressd import __version__
from ingressd.errors import Reason, Severity
from ingressd.observe.metrics import ControllerFacts, WorkerExport, render
from ingressd.observe.stats import WorkerStats
from ingressd.table.certificate import Certificate
from tests.support.edge import route
from tests.unit.observe.entries import CART, Ended, unreadable
from tests.unit.observe.pools import endpoint, pool

CHECKOUT = Path(__file__).parents[3]
LABELS = {"host": CART.host, "route": CART.id, "namespace": "default", "ingress": "test", "service": "app"}
FACTS = ControllerFacts(generation=7, reloads_total=3, workers=2)


@dataclass
class Worker:
    """What a worker sends."""

    counted: WorkerStats
    edge: Mapping[str, int] = field(default_factory=lambda: {"http": 0, "https": 0})
    upstreams: Sequence[Mapping[str, Any]] = ()

    @property
    def stats(self) -> Mapping[str, Any]:
        return self.counted.export()


def _worker(requests: int, **more: Any) -> Worker:
    counted = WorkerStats()
    for _ in range(requests):
        counted.finished(Ended(duration_s=0.02, bytes_in=1, bytes_out=2))
    counted.connections_total = counted.connections_open = 10 * requests
    counted.tunnels_open = counted.retries_total = counted.upstream_connects_total = requests
    counted.access_log_dropped_total = requests
    return Worker(counted, **more)


def _pool(name: str, **endpoints: int) -> Mapping[str, Any]:
    counted = {"active": 1, "idle": 2, "connects": 3, "failures": 4}
    return pool(name, *(endpoint(f"{key}:80", picks=picks, **counted) for key, picks in endpoints.items()))


class Scrape:
    """What Prometheus reads."""

    def __init__(
        self, workers: Sequence[WorkerExport], departed: Sequence[WorkerExport] = (), facts: ControllerFacts = FACTS
    ) -> None:
        self.text = render(workers, departed, facts).decode()
        families = list(text_string_to_metric_families(self.text))
        self.types = {family.name: family.type for family in families}
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, "a series appears once"
                self.samples[key] = sample.value

    def __call__(self, metric: str, /, **labels: str) -> float | None:
        return self.samples.get((f"ingressd_{metric}", frozenset(labels.items())))


def test_counters_of_departed_workers_go_on_and_their_gauges_do_not() -> None:
    live = [_worker(1, edge={"http": 4, "https": 1}), _worker(2, edge={"http": 5, "https": 2})]
    scrape = Scrape(live, [_worker(4, edge={"http": 100, "https": 100})])
    assert scrape("requests_total", **LABELS, status="200", reason="") == 7
    assert scrape("connections_total") == 70
    assert scrape("retries_total") == scrape("upstream_connects_total") == scrape("access_log_dropped_total") == 7
    assert (scrape("request_body_bytes_total"), scrape("response_body_bytes_total")) == (7, 14)
    assert (scrape("connections_open", scheme="http"), scrape("connections_open", scheme="https")) == (9, 3)
    assert scrape("tunnels_open") == 3


def test_histograms_are_cumulative_and_summed_over_workers() -> None:
    scrape = Scrape([_worker(1), _worker(2)], [_worker(4)])
    name = "request_duration_seconds"
    assert scrape(f"{name}_bucket", **LABELS, le="0.01") == 0
    assert scrape(f"{name}_bucket", **LABELS, le="0.025") == 7
    assert scrape(f"{name}_bucket", **LABELS, le="+Inf") == scrape(f"{name}_count", **LABELS) == 7
    total = scrape(f"{name}_sum", **LABELS)
    assert total is not None
    assert round(total, 9) == 0.14
    assert scrape("upstream_duration_seconds_count", **LABELS) == 7


def test_local_replies_have_their_reason() -> None:
    counted = WorkerStats()
    counted.finished(unreadable())
    counted.finished(Ended(status=503, reason=Reason.NO_ENDPOINTS))
    scrape = Scrape([Worker(counted)])
    unrouted = dict.fromkeys(LABELS, "")
    assert scrape("requests_total", **unrouted, status="400", reason="bad_request") == 1
    assert scrape("requests_total", **LABELS, status="503", reason="no_endpoints") == 1


def test_endpoints_are_counted_once_a_worker_whatever_pools_list_them() -> None:
    live = [
        Worker(WorkerStats(), upstreams=(_pool("one", a=10, b=1), _pool("two", a=10))),
        Worker(WorkerStats(), upstreams=(_pool("one", a=5),)),
    ]
    scrape = Scrape(live, [Worker(WorkerStats(), upstreams=(_pool("one", a=100, gone=9),))])
    assert scrape("endpoint_picks_total", endpoint="a:80") == 115
    assert scrape("endpoint_failures_total", endpoint="a:80") == 12
    assert scrape("endpoint_connects_total", endpoint="a:80") == 9
    assert (scrape("endpoint_active", endpoint="a:80"), scrape("endpoint_idle", endpoint="a:80")) == (2, 4)
    assert scrape("endpoint_picks_total", endpoint="b:80") == 1
    assert scrape("endpoint_picks_total", endpoint="gone:80") is None


def test_an_endpoint_has_its_health_its_ejections_and_its_latency() -> None:
    a = endpoint("a:80", healthy=False, ejected_s=4.5, ejections=2, picks=3, latency_ms=10.0)
    in_another_pool = {**a, "healthy": True, "ejected_s": 0.0, "ejections": 1}
    live = [
        Worker(WorkerStats(), upstreams=(pool("one", a, endpoint("b:80")), pool("two", in_another_pool))),
        Worker(WorkerStats(), upstreams=(pool("one", endpoint("a:80", picks=1, latency_ms=50.0)),)),
    ]
    scrape = Scrape(live, [Worker(WorkerStats(), upstreams=(pool("one", endpoint("a:80", ejections=5)),))])
    assert (scrape("endpoint_healthy", endpoint="a:80"), scrape("endpoint_healthy", endpoint="b:80")) == (0, 1)
    assert (scrape("endpoint_ejected", endpoint="a:80"), scrape("endpoint_ejected", endpoint="b:80")) == (1, 0)
    assert scrape("endpoint_ejections_total", endpoint="a:80") == 8
    assert scrape("endpoint_latency_seconds", endpoint="a:80") == 0.02
    assert scrape("endpoint_latency_seconds", endpoint="b:80") is None


def test_a_pool_has_its_panic_its_waiting_and_its_breaker() -> None:
    full = {"requests": 2, "pending": 3, "overflows": 4}
    live = [
        Worker(WorkerStats(), upstreams=(pool("one", panic=True, dialing=1, retrying=2, breaker=full),)),
        Worker(WorkerStats(), upstreams=(pool("one", dialing=1, breaker=full), pool("two"))),
    ]
    scrape = Scrape(live, [Worker(WorkerStats(), upstreams=(pool("one", panic=True, dialing=9, breaker=full),))])
    names = ("panic", "dialing", "retrying", "breaker_requests", "breaker_pending", "breaker_overflows_total")
    assert [scrape(f"pool_{name}", pool="one") for name in names] == [1, 2, 2, 4, 6, 12]
    assert [scrape(f"pool_{name}", pool="two") for name in names] == [0, 0, 0, None, None, None]


def test_pools_beyond_the_bound_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingressd.observe.metrics.POOLS", 2)
    seen = {"requests": 1, "pending": 1, "overflows": 1}
    pools = tuple(pool(name, dialing=1, breaker=seen) for name in ("d", "b", "c", "a"))
    scrape = Scrape([Worker(WorkerStats(), upstreams=pools)])
    assert [scrape("pool_dialing", pool=name) for name in ("a", "b", "c", "d", "other")] == [1, 1, None, None, 2]
    assert scrape("pool_breaker_overflows_total", pool="other") == 2


def test_checks_that_differ_in_their_times_only_are_one_series() -> None:
    checks = (("a:80", "http:/healthz", True), ("a:80", "http:/healthz", False), ("b:80", "tcp", True))
    scrape = Scrape([], facts=ControllerFacts(1, 1, 1, checks=checks))
    assert scrape("health_check_up", target="a:80", check="http:/healthz") == 0
    assert scrape("health_check_up", target="b:80", check="tcp") == 1


def test_the_controller_tells_its_own() -> None:
    certificate = Certificate(b"", b"SECRET", "f1", ("shop.example.com", "x.example.com"), 1900000000.0, "default/shop")
    facts = ControllerFacts(
        generation=7,
        reloads_total=3,
        workers=2,
        faults=(Severity.ERROR, Severity.ERROR, Severity.INFO),
        certificates=(certificate, Certificate(b"", b"SECRET", "f2", (), 1950000000.5, "self-made"), certificate),
        reloaded_at=1893499200.25,
        reload_s=0.125,
    )
    scrape = Scrape([], facts=facts)
    assert (scrape("generation"), scrape("reloads_total"), scrape("workers")) == (7, 3, 2)
    assert [scrape("faults", severity=severity) for severity in ("error", "warning", "info")] == [2, 0, 1]
    assert scrape("certificate_not_after_seconds", origin="default/shop", name="shop.example.com") == 1900000000.0
    assert scrape("certificate_not_after_seconds", origin="self-made", name="") == 1950000000.5
    assert scrape("reload_last_success_timestamp_seconds") == 1893499200.25
    assert scrape("reload_last_duration_seconds") == 0.125
    assert scrape("build_info", version=__version__) == 1
    assert "SECRET" not in scrape.text


def test_before_the_first_reload_there_is_no_time_of_it() -> None:
    scrape = Scrape([])
    assert scrape("reload_last_success_timestamp_seconds") is None
    assert scrape("requests_total", **LABELS, status="200", reason="") is None
    assert scrape("retries_total") == 0


def test_labels_are_escaped() -> None:
    odd = route("shop.example.com", '/a"b\\c\nd{},é')
    counted = WorkerStats()
    counted.finished(Ended(route=odd))
    scrape = Scrape([Worker(counted)])
    assert scrape("requests_total", **{**LABELS, "route": odd.id}, status="200", reason="") == 1


def test_the_reference_of_metrics_is_complete() -> None:
    facts = ControllerFacts(1, 1, 1, reloaded_at=1.0, reload_s=1.0, dns_queries={})
    families = re.findall(r"^# HELP (\S+)", Scrape([_worker(1)], facts=facts).text, re.MULTILINE)
    rows = re.findall(r"^\| (`ingressd_[^|]+)", (CHECKOUT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(families)


def test_every_metric_has_a_type_a_help_and_the_prefix() -> None:
    scrape = Scrape([_worker(1)], facts=ControllerFacts(1, 1, 1, reloaded_at=1.0, reload_s=1.0))
    assert all(name.startswith("ingressd_") for name in scrape.types)
    assert set(scrape.types.values()) == {"counter", "gauge", "histogram"}
    assert scrape.text.count("# HELP") == scrape.text.count("# TYPE") == len(scrape.types)
    assert scrape.text.endswith("\n")
