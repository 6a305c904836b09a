"""Services with what workers count: their pools are those of real registries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingressd.clock import Wheel
from ingressd.compile.compilation import Compilation
from ingressd.compile.marks import marked, targets
from ingressd.process.service_report import service_report
from ingressd.settings import Limits
from ingressd.table.health import HealthTarget
from ingressd.upstream.registry import Registry
from tests.unit.compile.manifests import compiled, service


@dataclass
class Worker:
    """What a worker sends."""

    upstreams: Sequence[Mapping[str, Any]]


def _written(**annotations: str) -> Compilation:
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [f"10.0.0.{number}"]} for number in (1, 2, 3)],
    }
    return compiled(service("web", type="NodePort", annotations=annotations), service("other"), slices)


def _registry(compilation: Compilation) -> Registry:
    registry = Registry(Limits(), Wheel(asyncio.get_running_loop()))
    registry.publish(compilation.snapshot, None)
    return registry


def _checks(compilation: Compilation, at: float = 0.0) -> dict[HealthTarget, dict[str, Any]]:
    return {
        target: {"detail": f"of {target}", "streak": 1, "took_ms": 2.5, "checked_at": at}
        for target in targets(compilation.snapshot.pools)
    }


async def test_counters_of_all_workers_are_beside_each_endpoint() -> None:
    compilation = _written()
    first, second = _registry(compilation), _registry(compilation)
    for registry, active in ((first, 1), (second, 2)):
        state = registry.pools["default/web:80"].endpoints[0]
        state.active, state.picks = active, 10 * active
    report = service_report(compilation, [Worker(each.statistics()) for each in (first, second)], {})
    other, web = report
    assert (other["name"], other["pools"]) == ("other", [])
    (pool,) = web["pools"]
    assert pool["live"] == {"workers": 2, "panic": 0, "dialing": 0, "retrying": 0, "breaker": None}
    busy, idle, _ = pool["endpoints"]
    assert busy["live"] == {
        "active": 3,
        "idle": 0,
        "picks": 30,
        "connects": 0,
        "failures": 0,
        "ejections": 0,
        "ejected_by": 0,
        "ejected_s": 0.0,
        "latency_ms": None,
        "check": None,
    }
    assert (busy["state"], idle["live"]["picks"]) == ("ready", 0)


async def test_an_endpoint_that_a_worker_ejects_is_ejected() -> None:
    compilation = _written()
    registry = _registry(compilation)
    now = asyncio.get_running_loop().time()
    for _ in range(5):
        registry.pools["default/web:80"].endpoints[1].failed(now)
    workers = [Worker(registry.statistics()), Worker(_registry(compilation).statistics())]
    (pool,) = service_report(compilation, workers, {})[1]["pools"]
    assert [each["state"] for each in pool["endpoints"]] == ["ready", "ejected", "ready"]
    seen = pool["endpoints"][1]["live"]
    assert (seen["ejected_by"], seen["ejections"], seen["failures"]) == (1, 1, 5)
    assert 0 < seen["ejected_s"] <= 30


async def test_what_a_check_says_is_beside_the_endpoint_that_it_asks() -> None:
    compilation = _written(**{"ingressd.dev/health-check": "tcp"})
    sick = HealthTarget("10.0.0.2", 80, next(iter(targets(compilation.snapshot.pools))).check)
    after = marked(compilation, {}, {sick})
    (pool,) = service_report(after, [Worker(_registry(after).statistics())], _checks(after, 1767225600.25))[1]["pools"]
    assert [each["state"] for each in pool["endpoints"]] == ["ready", "unhealthy", "ready"]
    assert pool["endpoints"][1]["live"]["check"] == {
        "detail": "of 10.0.0.2:80",
        "streak": 1,
        "took_ms": 2.5,
        "checked_at": "2026-01-01T00:00:00.250Z",
    }


async def test_before_the_first_check_and_the_first_worker_there_is_nothing_to_tell() -> None:
    compilation = _written(**{"ingressd.dev/health-check": "tcp"})
    (pool,) = service_report(compilation, [], _checks(compilation))[1]["pools"]
    assert pool["live"]["workers"] == 0
    assert [each["live"]["check"]["checked_at"] for each in pool["endpoints"]] == [None] * 3
    assert [each["live"]["picks"] for each in pool["endpoints"]] == [0] * 3


def test_a_panic_is_the_number_of_workers_in_it() -> None:
    compilation = _written()
    states = {"panic": True, "dialing": 1, "retrying": 2, "breaker": {"requests": 1, "pending": 2, "overflows": 3}}
    worker = Worker([{"pool": "default/web:80", "endpoints": [], **states}])
    (pool,) = service_report(compilation, [worker, worker], {})[1]["pools"]
    assert pool["live"] == {
        "workers": 2,
        "panic": 2,
        "dialing": 2,
        "retrying": 4,
        "breaker": {"requests": 2, "pending": 4, "overflows": 6},
    }
