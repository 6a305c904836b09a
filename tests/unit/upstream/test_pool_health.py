"""A pool follows health, ejections and slow starts at its picks, and pays for them only while there are some."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.balancing.base import Request as Requested
from ingressd.balancing.registry import SCHEDULERS
from ingressd.observe.sparing import Sparing
from ingressd.settings import Limits
from ingressd.table.endpoint import Endpoint
from ingressd.table.health import OutlierDetection
from ingressd.table.pool import Pool
from ingressd.upstream import registry
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.registry import PoolState
from tests.unit.balancing.targets import Request

START = 1000.0
FIVE = OutlierDetection(consecutive_failures=5)


class Site:
    """One pool, its endpoints by number, and a clock."""

    def __init__(self, count: int, state: type[PoolState] = PoolState, **pool: object) -> None:
        self.now = START
        self.states = [EndpointState(f"10.0.0.{n}", 80, f"10.0.0.{n}:80", None, Limits()) for n in range(count)]
        endpoints = tuple(Endpoint(f"10.0.0.{n}", 80) for n in range(count))
        made = Pool("default/web:80", "default", "web", "80", endpoints)
        self.pool = replace(made, **pool)  # type: ignore[arg-type]
        self.state = state(self.pool, Limits())
        self.follow(*range(count))

    def follow(self, *numbers: int, unhealthy: tuple[int, ...] = ()) -> None:
        """The pool has these endpoints."""
        endpoints = tuple(Endpoint(f"10.0.0.{n}", 80, healthy=n not in unhealthy) for n in numbers)
        self.pool = replace(self.pool, endpoints=endpoints)
        self.state.follow(self.pool, tuple(self.states[n] for n in numbers), self.now)

    def pick(self, *tried: int) -> int | None:
        picked = self.state.pick([self.states[n] for n in tried], Request(began=self.now))
        return None if picked is None else self.states.index(picked)

    def picks(self, count: int) -> Counter[int | None]:
        return Counter(self.pick() for _ in range(count))

    def fail(self, number: int, times: int = 5) -> None:
        for _ in range(times):
            self.states[number].failed(self.now)

    def shown(self, number: int) -> dict[str, object]:
        """Of the statistics."""
        endpoints = self.state.statistics(self.now)["endpoints"]
        assert isinstance(endpoints, list)
        shown: dict[str, object] = endpoints[number]
        return shown


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What pools log; other tests have not used up the lines of this while."""
    monkeypatch.setattr(registry, "_LOG", Sparing(logging.getLogger(registry.__name__)))
    caplog.set_level(logging.INFO)
    return caplog


def test_an_unhealthy_endpoint_is_not_picked_until_it_is_healthy() -> None:
    site = Site(3)
    site.follow(0, 1, 2, unhealthy=(1,))
    assert site.picks(30) == {0: 15, 2: 15}
    assert site.shown(1)["healthy"] is False
    site.follow(0, 1, 2)
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}


def test_when_too_few_are_healthy_all_are_picked(said: pytest.LogCaptureFixture) -> None:
    site = Site(3)
    site.follow(0, 1, 2, unhealthy=(1, 2))
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}
    assert site.state.panic
    site.follow(0, 1, 2, unhealthy=(1,))
    assert not site.state.panic
    assert [record.getMessage() for record in said.records] == [
        "default/web:80: too few of its endpoints are healthy, so all of them are used",
        "default/web:80: enough of its endpoints are healthy again",
    ]
    strict = Site(2, panic_percent=0)
    strict.follow(0, 1, unhealthy=(0, 1))
    assert strict.pick() is None
    assert not strict.state.may_try(())


def test_an_ejected_endpoint_is_passed_over_until_its_time_is_over(said: pytest.LogCaptureFixture) -> None:
    site = Site(3, outliers=FIVE)
    site.fail(1)
    assert site.picks(30) == {0: 15, 2: 15}
    site.now += 29.9
    assert site.picks(30) == {0: 15, 2: 15}
    assert (site.shown(1)["ejected_s"], site.shown(1)["ejections"]) == (0.1, 1)
    site.now += 0.1
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}
    assert (site.shown(1)["ejected_s"], site.shown(1)["ejections"]) == (0.0, 1)
    lines = [record.getMessage() for record in said.records]
    assert lines == [
        "default/web:80: 10.0.0.1:80 is ejected for 30 s: 5 failed connections in a row",
        "default/web:80: 10.0.0.1:80 takes requests again: its ejection is over",
    ]


def test_an_ejection_survives_an_edit_and_ends_with_the_detection() -> None:
    site = Site(3, outliers=FIVE)
    site.fail(1)
    site.follow(2, 1, 0)
    assert site.picks(30) == {0: 15, 2: 15}
    site.pool = replace(site.pool, outliers=None)
    site.follow(2, 1, 0)
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}
    assert site.states[1].outliers == {}
    site.fail(1, 100)
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}


def test_a_second_attempt_takes_an_ejected_endpoint_rather_than_none() -> None:
    site = Site(2, outliers=FIVE)
    site.fail(1)
    assert site.pick() == 0
    assert site.state.may_try([site.states[0]])
    assert site.pick(0) == 1
    assert site.pick(0, 1) is None
    assert not site.state.may_try(site.states)
    site.follow(0, 1, unhealthy=(1,))
    assert site.pick(0) is None, "who is also unhealthy is not worth an attempt"


def test_a_pool_that_is_gone_is_not_told_any_more() -> None:
    site = Site(2, outliers=FIVE)
    site.state.close()
    assert [each.outliers for each in site.states] == [{}, {}]


@pytest.mark.parametrize("back", ["comes", "is healthy again", "returns"])
def test_who_comes_or_comes_back_starts_slowly(back: str) -> None:
    site = Site(3, outliers=FIVE, slow_start_s=30.0)
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}, "those that are there from the beginning do not"
    if back == "comes":
        site.follow(0, 2)
    elif back == "returns":
        site.fail(1)
    else:
        site.follow(0, 1, 2, unhealthy=(1,))
    site.now += 31
    if back != "returns":
        site.follow(0, 1, 2)
    first = site.picks(3000)
    assert 100 < first[1] < 200, "a tenth of a third"
    site.now += 15
    assert 500 < site.picks(3000)[1] < 900
    site.now += 15
    site.picks(3)
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}
    site.follow(0, 1, 2)
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}, "an edit begins nothing anew"


def test_in_a_panic_nobody_starts_slowly() -> None:
    site = Site(4, slow_start_s=30.0)
    site.follow(0, 1, 2, 3, unhealthy=(1, 2))
    site.follow(0, 1, 2, 3, unhealthy=(1, 2, 3))
    assert site.picks(40) == dict.fromkeys(range(4), 10)


@pytest.mark.parametrize("how", [{"scheduler": "maglev"}, {"scheduler": "sh"}, {"affinity_s": 60}])
def test_where_clients_have_endpoints_of_their_own_there_is_no_slow_start(how: dict[str, object]) -> None:
    site = Site(2, slow_start_s=30.0, **how)
    before = site.pick()
    other = 1 if before == 0 else 0
    site.follow(other)
    assert site.pick() == other
    site.follow(0, 1)
    site.state.scheduler.update({})
    site.follow(0, 1)
    assert {site.pick() for _ in range(50)} == {before}


def test_a_pick_goes_the_long_way_only_while_somebody_is_ejected_or_starting() -> None:
    long_ways = []

    class Watched(PoolState):
        def _pick(self, tried: Collection[EndpointState], request: Requested) -> EndpointState | None:
            long_ways.append(request.began)
            return super()._pick(tried, request)

    site = Site(3, outliers=FIVE, slow_start_s=10.0, state=Watched)
    site.fail(0, 4)
    site.follow(0, 1, 2, unhealthy=(1,))
    site.picks(10)
    assert long_ways == []
    site.fail(0)
    site.follow(0, 1, 2)
    site.picks(10)
    assert len(long_ways) == 10
    site.now += 40
    site.picks(1)
    site.now += 10
    site.picks(10)
    assert site.picks(30) == {0: 10, 1: 10, 2: 10}
    assert len(long_ways) < 25, "when all is well again it costs nothing again"


EVENTS = st.one_of(
    st.tuples(st.just("fail"), st.integers(0, 4)),
    st.tuples(st.just("go"), st.floats(0, 60)),
    st.tuples(st.just("follow"), st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4))),
    st.tuples(st.just("pick"), st.sets(st.integers(0, 4), max_size=2)),
)


@given(
    st.sampled_from(sorted(SCHEDULERS)),
    st.sampled_from([0, 50, 100]),
    st.sampled_from([0.0, 20.0]),
    st.lists(EVENTS, max_size=40),
)
def test_a_pick_finds_somebody_whenever_somebody_is_healthy(
    scheduler: str, panic_percent: int, slow_start_s: float, events: list[tuple[object, ...]]
) -> None:
    detection = OutlierDetection(consecutive_failures=1)
    site = Site(5, scheduler=scheduler, panic_percent=panic_percent, slow_start_s=slow_start_s, outliers=detection)
    numbers, unhealthy = {0, 1, 2, 3, 4}, set[int]()
    for event in events:
        match event:
            case ("fail", int(number)):
                site.fail(number, 1)
            case ("go", float(seconds)):
                site.now += seconds
            case ("follow", set(listed), set(ill)):
                numbers, unhealthy = listed, ill
                site.follow(*sorted(numbers), unhealthy=tuple(unhealthy))
            case ("pick", set(tried)):
                picked = site.pick(*tried)
                healthy = numbers - unhealthy
                if picked is None:
                    assert not (healthy - tried)
                else:
                    assert picked in numbers - tried
                    assert picked in healthy or len(healthy) * 100 < panic_percent * len(numbers)
                assert site.state.may_try([site.states[n] for n in tried]) is (picked is not None)
