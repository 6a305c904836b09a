"""Ejections: what it takes, how long they are, and whom they never meet."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.settings import Limits
from ingressd.table.health import OutlierDetection
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.outlier import INTERVAL_S, REQUESTS_MIN, Outliers, ejectable

FIVE = OutlierDetection(consecutive_failures=5)
FIVE_5XX = OutlierDetection(consecutive_5xx=5)
GATEWAY = OutlierDetection(consecutive_gateway_failures=3)
RATE = OutlierDetection(success_rate=True)
START = 1000.0


class Fleet:
    """Endpoints of one pool, and what was said of them."""

    def __init__(self, count: int, detection: OutlierDetection) -> None:
        self.ejections: list[tuple[int, float, str]] = []
        self.outliers = Outliers(detection, self._ejected)
        self.endpoints = [
            EndpointState(f"10.0.0.{number}", 80, f"10.0.0.{number}:80", None, Limits()) for number in range(count)
        ]
        self.outliers.follow(self.endpoints)
        self.now = START

    def _ejected(self, endpoint: EndpointState, seconds: float, why: str, now: float) -> None:
        assert now == self.now
        assert self.outliers.is_ejected(endpoint)
        self.ejections.append((self.endpoints.index(endpoint), seconds, why))

    def fail(self, number: int, times: int = 1, *, unreachable: bool = True) -> None:
        for _ in range(times):
            self.endpoints[number].failed(self.now, unreachable=unreachable)

    def answer(self, number: int, status: int = 200, times: int = 1) -> None:
        for _ in range(times):
            self.endpoints[number].answered(0.01, self.now, status)

    def ejected(self) -> list[int]:
        return [place for place, each in enumerate(self.endpoints) if self.outliers.is_ejected(each)]

    def go(self, seconds: float) -> list[int]:
        """Time goes on. Who returns?"""
        self.now += seconds
        return [self.endpoints.index(each) for each in self.outliers.let_return(self.now)]


def test_so_many_failures_in_a_row_eject_for_the_base_time() -> None:
    fleet = Fleet(3, FIVE)
    fleet.fail(0, 4)
    assert fleet.ejected() == []
    fleet.fail(0)
    assert fleet.ejections == [(0, 30.0, "5 failed connections in a row")]
    assert fleet.outliers.next_return == START + 30
    assert fleet.go(29.9) == []
    assert fleet.go(0.1) == [0]
    assert (fleet.ejected(), fleet.outliers.next_return) == ([], inf)


def test_one_answer_in_between_forgives_all() -> None:
    fleet = Fleet(2, FIVE)
    for _ in range(10):
        fleet.fail(0, 4)
        assert fleet.endpoints[0].suspect
        fleet.answer(0)
        assert not fleet.endpoints[0].suspect, "good answers need not be told when nothing speaks against it"
    assert fleet.ejected() == []


def test_answers_with_5xx_do_not_count_as_failed_connections() -> None:
    fleet = Fleet(2, FIVE)
    fleet.fail(0, 4)
    fleet.answer(0, 503)
    fleet.fail(0, 4)
    fleet.answer(0, 500, times=50)
    fleet.fail(0, 9, unreachable=False)
    assert fleet.ejected() == []


def test_an_endpoint_that_only_answers_5xx_is_ejected_when_that_is_asked_for() -> None:
    fleet = Fleet(2, FIVE_5XX)
    fleet.answer(0, 500, times=2)
    fleet.fail(0)
    fleet.fail(0, unreachable=False)
    assert fleet.ejected() == []
    fleet.answer(0, 501)
    assert fleet.ejections == [(0, 30.0, "5 failures or answers with 5xx in a row")]


@pytest.mark.parametrize(
    ("status", "counts"), [(502, True), (503, True), (504, True), (500, False), (501, False), (200, False)]
)
def test_gateway_failures_are_those_that_a_gateway_answers_with(status: int, counts: bool) -> None:
    fleet = Fleet(2, GATEWAY)
    fleet.fail(0, unreachable=False)
    fleet.fail(0)
    fleet.answer(0, status)
    assert fleet.ejected() == ([0] if counts else [])


def test_each_ejection_is_longer_up_to_the_longest() -> None:
    fleet = Fleet(2, replace(FIVE, base_ejection_s=10.0, max_ejection_s=35.0))
    lengths = []
    for _ in range(5):
        fleet.fail(0, 5)
        seconds = fleet.ejections[-1][1]
        lengths.append(seconds)
        assert fleet.go(seconds) == [0]
    assert lengths == [10, 20, 30, 35, 35]


def test_doing_well_is_rewarded_by_one_base_time_each() -> None:
    fleet = Fleet(2, FIVE)
    for _ in range(3):
        fleet.fail(0, 5)
        fleet.go(fleet.ejections[-1][1])
    fleet.go(61)
    fleet.fail(0, 5)
    assert fleet.ejections[-1][1] == 60, "of three, two are forgotten"
    fleet.go(60)
    fleet.go(10_000)
    fleet.fail(0, 5)
    assert fleet.ejections[-1][1] == 30
    outlier = fleet.outliers.get(fleet.endpoints[0])
    assert outlier is not None
    assert outlier.ejections == 5, "all of them are counted"


def test_what_comes_back_late_from_an_ejected_endpoint_does_not_count() -> None:
    fleet = Fleet(2, FIVE)
    fleet.fail(0, 50)
    assert len(fleet.ejections) == 1
    assert fleet.go(30) == [0]
    fleet.fail(0, 4)
    assert fleet.ejected() == []


@pytest.mark.parametrize(
    ("count", "percent", "most"),
    [
        (0, 50, 0),
        (1, 50, 0),
        (1, 100, 0),
        (2, 50, 1),
        (2, 100, 1),
        (3, 50, 1),
        (4, 50, 2),
        (10, 5, 1),
        (10, 100, 9),
        (10, 0, 0),
        (100, 33, 33),
    ],
)
def test_how_many_may_be_ejected(count: int, percent: int, most: int) -> None:
    assert ejectable(count, percent) == most


def test_one_endpoint_is_never_ejected_and_of_two_one_stays() -> None:
    alone, pair = Fleet(1, FIVE), Fleet(2, FIVE)
    alone.fail(0, 100)
    pair.fail(0, 100)
    pair.fail(1, 100)
    assert alone.ejected() == []
    assert pair.ejected() == [0]
    assert pair.go(30) == [0]
    pair.fail(1)
    assert pair.ejected() == [1], "now there is room for the other one"


def test_what_is_known_stays_when_endpoints_come_and_go() -> None:
    fleet = Fleet(3, FIVE)
    fleet.fail(0, 5)
    fleet.fail(1, 4)
    fleet.outliers.follow([fleet.endpoints[0], fleet.endpoints[1]])
    assert fleet.ejected() == [0]
    assert fleet.endpoints[2].outliers == {}
    fleet.outliers.follow([fleet.endpoints[1]])
    assert fleet.outliers.next_return == inf
    assert (fleet.endpoints[0].outliers, fleet.endpoints[0].suspect) == ({}, False)


def test_when_a_pool_gets_small_those_return_first_that_would_anyway() -> None:
    fleet = Fleet(6, FIVE)
    for place in (2, 0, 1):
        fleet.fail(place, 5)
        fleet.go(1)
    fleet.outliers.follow(fleet.endpoints[:3])
    assert fleet.ejected() == [1]
    fleet.fail(0, 5)
    assert fleet.ejected() == [1]
    assert fleet.outliers.next_return == START + 2 + 30


def test_each_pool_of_an_endpoint_decides_for_itself() -> None:
    fleet, other = Fleet(2, FIVE), Fleet(2, replace(FIVE, consecutive_failures=7))
    other.endpoints = fleet.endpoints
    other.outliers.follow(other.endpoints)
    fleet.fail(0, 6)
    assert (fleet.ejected(), other.ejected()) == ([0], [])
    fleet.fail(0)
    assert other.ejected() == [0]


def _interval(fleet: Fleet, bad: dict[int, int], requests: int = REQUESTS_MIN) -> None:
    """An interval in which each endpoint gets so many requests, and some of them fail."""
    for place in range(len(fleet.endpoints)):
        failures = bad.get(place, 0)
        fleet.answer(place, 500, times=failures)
        fleet.answer(place, times=requests - failures)
    fleet.go(INTERVAL_S)
    fleet.answer(0)


def test_who_fails_much_more_often_than_the_others_is_ejected() -> None:
    fleet = Fleet(6, RATE)
    fleet.answer(0)
    _interval(fleet, {3: 60, 1: 2})
    assert fleet.ejected() == [3]
    assert fleet.ejections[0][2].startswith("only 40.0% of its answers were good")


@pytest.mark.parametrize(
    ("count", "requests", "bad"),
    [(4, REQUESTS_MIN, {0: 90}), (6, REQUESTS_MIN - 2, {0: 90}), (6, REQUESTS_MIN, dict.fromkeys(range(6), 90))],
)
def test_it_takes_enough_endpoints_enough_requests_and_a_difference(
    count: int, requests: int, bad: dict[int, int]
) -> None:
    fleet = Fleet(count, RATE)
    fleet.answer(0)
    _interval(fleet, bad, requests)
    assert fleet.ejected() == []


def test_an_interval_begins_with_nothing() -> None:
    fleet = Fleet(6, RATE)
    fleet.answer(0)
    _interval(fleet, {}, 60)
    _interval(fleet, {2: 60}, 60)
    assert fleet.ejected() == [], "two halves are not a whole"


EVENTS = st.one_of(
    st.tuples(st.just("fail"), st.integers(0, 5)),
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from([200, 404, 500, 502, 503])),
    st.tuples(st.just("go"), st.floats(0, 100)),
    st.tuples(st.just("follow"), st.integers(0, 6)),
)
DETECTIONS = st.builds(
    OutlierDetection,
    consecutive_failures=st.integers(0, 3),
    consecutive_gateway_failures=st.integers(0, 3),
    consecutive_5xx=st.integers(0, 3),
    success_rate=st.booleans(),
    base_ejection_s=st.floats(0.1, 60),
    max_ejection_s=st.just(60.0),
    max_ejection_percent=st.integers(0, 100),
)


@given(DETECTIONS, st.integers(1, 6), st.lists(EVENTS, max_size=80))
def test_whatever_happens_some_stay_and_all_return(
    detection: OutlierDetection, count: int, events: list[tuple[object, ...]]
) -> None:
    fleet = Fleet(6, detection)
    fleet.outliers.follow(fleet.endpoints[:count])
    for event in events:
        match event:
            case ("fail", int(place)):
                fleet.fail(place)
            case ("answer", int(place), int(status)):
                fleet.answer(place, status)
            case ("go", float(seconds)):
                fleet.go(seconds)
            case ("follow", int(number)):
                count = number
                fleet.outliers.follow(fleet.endpoints[:count])
        ejected = fleet.ejected()
        assert set(ejected) <= set(range(count))
        assert (fleet.outliers.next_return < inf) == bool(ejected) == fleet.outliers.any_ejected
        assert len(ejected) <= ejectable(count, detection.max_ejection_percent)
    assert all(0 < seconds <= 60 for _, seconds, _ in fleet.ejections)
    left = fleet.ejected()
    assert sorted(fleet.go(60.1)) == left
    assert fleet.ejected() == []
