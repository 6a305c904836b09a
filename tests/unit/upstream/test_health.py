"""Rise and fall: how many results it takes."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.upstream.health import Health


def states(results: str, rise: int = 2, fall: int = 3, *, healthy: bool = True) -> str:
    """`+` and `-` in, `U` and `D` out."""
    health = Health(healthy=healthy)
    shown = []
    for result in results:
        before = health.healthy
        assert health.take(good=result == "+", rise=rise, fall=fall) is (health.healthy is not before)
        shown.append("U" if health.healthy else "D")
    return "".join(shown)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("+--+---", "UUUUUUD"),
        ("-", "D"),
        ("-+-++", "DDDDU"),
        ("+---++---", "UUUDDUUUD"),
        ("--+-+-++", "DDDDDDDU"),
    ],
)
def test_it_takes_fall_failures_or_rise_successes_in_a_row(results: str, expected: str) -> None:
    assert states(results) == expected


def test_the_first_result_decides_whatever_was_believed_before() -> None:
    assert states("-", fall=100) == "D"
    assert states("+", rise=100, healthy=False) == "U"
    assert states("+", rise=100) == "U"
    assert states("-", rise=100, healthy=False) == "D"


def test_before_the_first_result_it_counts_as_it_is_told() -> None:
    assert Health().healthy
    assert not Health(healthy=False).healthy
    assert not Health().known


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_it_changes_after_just_so_many_results_against_it(results: list[bool], rise: int, fall: int) -> None:
    health = Health()
    healthy = results[0]
    streak = 0
    for place, good in enumerate(results):
        health.take(good=good, rise=rise, fall=fall)
        if place:
            streak = 0 if good is healthy else streak + 1
            if streak == (rise if good else fall):
                healthy, streak = good, 0
        assert (health.healthy, health.streak) == (healthy, streak)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_no_run_shorter_than_asked_for_changes_anything(results: list[bool], rise: int, fall: int) -> None:
    health = Health()
    health.take(good=results[0], rise=rise, fall=fall)
    for good, run in groupby(results[1:]):
        length = len([*run])
        before = health.healthy
        for _ in range(length):
            health.take(good=good, rise=rise, fall=fall)
        if good is not before:
            assert (health.healthy is good) == (length >= (rise if good else fall))
