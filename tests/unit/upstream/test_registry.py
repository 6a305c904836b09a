"""The registry: what a worker knows about endpoints and pools lives on when they are published anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ingressd.clock import Wheel
from ingressd.settings import Limits
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.snapshot import Snapshot, diff
from ingressd.upstream.endpoint import FAILED_S, EndpointState
from ingressd.upstream.registry import PoolState, Registry
from tests.unit.balancing.targets import Request, clients

ID = "default/web:80"


def pool(*endpoints: Endpoint, scheduler: str = "rr", affinity_s: int = 0, name: str = "web") -> Pool:
    return Pool(f"default/{name}:80", "default", name, "80", endpoints, scheduler=scheduler, affinity_s=affinity_s)


def resting_wheel() -> Wheel:
    """A clock that does not tick: nothing here waits for it."""
    loop = asyncio.new_event_loop()
    loop.close()
    return Wheel(loop)


def endpoints(*weights: int) -> list[Endpoint]:
    return [Endpoint(f"10.0.0.{number}", 80, weight) for number, weight in enumerate(weights, 1)]


class Site:
    """A registry that follows edits, as a worker's does."""

    def __init__(self, *pools: Pool) -> None:
        self.registry = Registry(Limits(), resting_wheel())
        self.snapshot = Snapshot()
        self.publish(*pools)

    def publish(self, *pools: Pool) -> None:
        snapshot = replace(Snapshot(), pools={each.id: each for each in pools})
        self.registry.publish(snapshot, diff(self.snapshot, snapshot))
        self.snapshot = snapshot

    def pool(self, name: str = "web") -> PoolState:
        return self.registry.pools[f"default/{name}:80"]

    def picks(self, count: int, name: str = "web") -> list[str]:
        picked = [self.pool(name).pick((), request) for request in clients(count)]
        return [each.address if each else "" for each in picked]


def test_the_turn_goes_on_when_an_endpoint_comes() -> None:
    one, two, three = endpoints(1, 1, 1)
    site = Site(pool(one, two, three))
    while site.picks(1) != [one.address]:
        pass
    site.publish(pool(one, two, three, Endpoint("10.0.0.9", 80)))
    assert site.picks(4) == [two.address, three.address, "10.0.0.9", one.address]


def test_another_scheduler_takes_over_and_an_equal_one_stays() -> None:
    site = Site(pool(*endpoints(1, 1)))
    first = site.pool().scheduler
    site.publish(pool(*endpoints(1, 1, 1)))
    assert site.pool().scheduler is first
    site.publish(pool(*endpoints(1, 1, 1), scheduler="lc"))
    assert site.pool().scheduler is not first
    assert {*site.picks(3)} == {each.address for each in endpoints(1, 1, 1)}


def test_what_an_endpoint_has_in_flight_counts_after_an_edit_and_in_every_pool() -> None:
    one, two = endpoints(1, 1)
    site = Site(pool(one, two, scheduler="lc"), pool(one, two, scheduler="lc", name="other"))
    busy = site.pool().endpoints[0]
    busy.active += 1
    site.publish(pool(two, one, scheduler="lc"), pool(two, one, scheduler="wlc", name="other"))
    assert busy.address == one.address
    for name in ("web", "other"):
        assert {*site.picks(5, name)} == {two.address}


def test_a_weight_belongs_to_the_pool() -> None:
    site = Site(pool(*endpoints(1, 0)), pool(*endpoints(0, 1), name="other"))
    assert {*site.picks(4)} == {"10.0.0.1"}
    assert {*site.picks(4, "other")} == {"10.0.0.2"}


def test_clients_keep_their_endpoints_over_an_edit() -> None:
    site = Site(pool(*endpoints(1, 1, 1), affinity_s=60))
    before = site.picks(50)
    assert {*before} == {each.address for each in endpoints(1, 1, 1)}
    site.publish(pool(*reversed(endpoints(1, 1, 1, 1)), affinity_s=60))
    assert site.picks(50) == before
    site.publish(pool(*endpoints(1, 1, 1)))
    assert len({site.picks(1)[0] for _ in range(3)}) == 3, "without affinity it is the scheduler again"


def test_a_pick_is_counted() -> None:
    site = Site(pool(*endpoints(1, 1)))
    site.picks(4)
    assert [each.picks for each in site.pool().endpoints] == [2, 2]
    shown = site.registry.statistics()
    assert [(each["pool"], each["scheduler"]) for each in shown] == [(ID, "rr")]


def test_a_pool_without_endpoints_picks_nothing() -> None:
    assert Site(pool()).pool().pick((), Request()) is None


def test_a_failure_counts_as_a_slow_answer_and_is_forgiven_by_quick_ones() -> None:
    state = EndpointState("10.0.0.1", 80, "10.0.0.1:80", None, Limits())
    state.answered(0.01, 100.0)
    assert (state.latency_s, state.latency_at) == (0.01, 100.0)
    state.failed(101.0)
    assert (state.latency_s, state.latency_at, state.failures) == (FAILED_S, 101.0, 1)
    for second in range(102, 200):
        state.answered(0.01, float(second))
    assert state.latency_s < 0.02
    state.answered(60.0, 200.0)
    state.failed(201.0)
    assert state.latency_s == 60.0
