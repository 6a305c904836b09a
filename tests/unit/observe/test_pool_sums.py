"""Workers' words of pools and endpoints, added up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingressd.clock import Wheel
from ingressd.observe.pool_sums import endpoint_sums, pool_sums
from ingressd.settings import Limits
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.snapshot import Snapshot
from ingressd.upstream.registry import Registry
from tests.unit.observe.pools import endpoint, pool


@dataclass
class Worker:
    """What a worker sends."""

    upstreams: Sequence[Mapping[str, Any]]


def test_counts_add_up_and_states_are_the_number_of_workers_in_them() -> None:
    ejected = endpoint("a:80", active=1, picks=10, failures=5, ejected_s=3.5, ejections=2)
    well = endpoint("a:80", active=2, picks=20, idle=4)
    sums = pool_sums([Worker([pool("p", ejected, panic=True, retrying=1)]), Worker([pool("p", well, dialing=7)])])
    assert sums["p"].as_dict() == {"workers": 2, "panic": 1, "dialing": 7, "retrying": 1, "breaker": None}
    assert sums["p"].endpoints["a:80"].as_dict() == {
        "active": 3,
        "idle": 4,
        "picks": 30,
        "connects": 0,
        "failures": 5,
        "ejections": 2,
        "ejected_by": 1,
        "ejected_s": 3.5,
        "latency_ms": None,
    }


def test_a_workers_latency_weighs_as_much_as_its_picks() -> None:
    seen = [endpoint("a:80", picks=picks, latency_ms=latency) for picks, latency in ((30, 10.0), (10, 50.0), (99, 0.0))]
    sums = pool_sums([Worker([pool("p", each)]) for each in seen])
    assert sums["p"].endpoints["a:80"].latency_ms == 20.0


def test_an_endpoint_of_several_pools_is_one() -> None:
    shared = endpoint("a:80", picks=10, ejections=1)
    elsewhere = {**shared, "healthy": False, "ejected_s": 1.0, "ejections": 2}
    (total,) = endpoint_sums([Worker([pool("p", shared), pool("q", elsewhere)])]).values()
    assert (total.counts["picks"], total.counts["ejections"], total.healthy, total.ejecting) == (10, 3, False, 1)
    assert [each.endpoints["a:80"].healthy for each in pool_sums([Worker([pool("p", shared)])]).values()] == [True]


def test_breakers_add_up_and_are_absent_where_there_is_none() -> None:
    full = {"requests": 1, "pending": 2, "overflows": 3}
    sums = pool_sums([Worker([pool("p", breaker=full), pool("q")]), Worker([pool("p", breaker=full)])])
    assert sums["p"].breaker == {"requests": 2, "pending": 4, "overflows": 6}
    assert sums["q"].breaker is None


async def test_it_reads_what_a_registry_says() -> None:
    registry = Registry(Limits(), Wheel(asyncio.get_running_loop()))
    table = Pool("p", "default", "web", "80", (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80, healthy=False)))
    registry.publish(Snapshot(pools={"p": table}), None)
    worker = Worker(registry.statistics())
    sums = pool_sums([worker, worker])
    assert {key: each.healthy for key, each in sums["p"].endpoints.items()} == {
        "10.0.0.1:80": True,
        "10.0.0.2:80": False,
    }
    assert sums["p"].workers == 2
