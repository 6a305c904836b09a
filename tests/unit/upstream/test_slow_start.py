"""Slow start: how much an endpoint gets that has just come, with every scheduler."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.balancing.registry import SCHEDULERS
from ingressd.upstream.registry import HASHING, LEAST_LOADED
from ingressd.upstream.slow_start import FIRST, SlowStart
from tests.unit.balancing.targets import ONE, Target, scheduler, targets

SECONDS = 30.0
START = 1000.0
PICKS = 6_000

STEERED = sorted(SCHEDULERS.keys() - HASHING)


def warming(*new: Target, seed: int = 1, name: str = "rr") -> SlowStart[Target]:
    slow_start: SlowStart[Target] = SlowStart(random.Random(seed))
    slow_start.turns = name not in LEAST_LOADED
    slow_start.seconds = SECONDS
    slow_start.begin(new, START)
    return slow_start


def test_a_share_grows_in_a_straight_line() -> None:
    (new,) = targets(1)
    slow_start = warming(new)
    shares = [slow_start.share(new, START + age) for age in (0, 7.5, 15, 22.5)]
    assert shares == [FIRST, pytest.approx(0.325), pytest.approx(0.55), pytest.approx(0.775)]
    assert slow_start
    assert slow_start.share(new, START + SECONDS) == 1.0
    assert not slow_start, "who is warm costs nothing any more"


@pytest.mark.parametrize("name", STEERED)
@pytest.mark.parametrize(("age_s", "share"), [(0.0, FIRST), (15.0, 0.55)])
def test_every_scheduler_gives_a_new_endpoint_its_share(name: str, age_s: float, share: float) -> None:
    served = targets(1, 1, 1, 1)
    new, *old = served
    slow_start = warming(new, name=name)
    picker = scheduler(name, served)
    request = replace(ONE, began=START + age_s)
    seen = Counter(slow_start.pick(picker, (), request) for _ in range(PICKS))
    assert seen[new] / PICKS == pytest.approx(share / (3 + share), abs=0.06 if name == "ewma" else 0.03)
    if name not in LEAST_LOADED:  # those even out by what is in flight, and here nothing is
        assert all(seen[each] > 0.8 * (PICKS - seen[new]) / 3 for each in old), "the others share the rest evenly"


def test_where_endpoints_take_turns_the_others_stay_in_turn() -> None:
    served = targets(1, 1, 1)
    new, one, other = served
    slow_start = warming(new)
    picker = scheduler("rr", served)
    request = replace(ONE, began=START)
    picked = [slow_start.pick(picker, (), request) for _ in range(300)]
    rest = [each for each in picked if each is not new]
    assert all(first is not second for first, second in pairwise(rest))
    assert {*rest} == {one, other}


def test_a_weight_counts_too() -> None:
    served = targets(3, 1)
    new, _ = served
    slow_start = warming(new)
    picker = scheduler("wrr", served)
    request = replace(ONE, began=START + 15)
    seen = Counter(slow_start.pick(picker, (), request) for _ in range(PICKS))
    assert seen[new] / PICKS == pytest.approx(3 * 0.55 / (3 * 0.55 + 1), abs=0.03)


def test_when_all_are_new_somebody_is_picked_and_the_least_loaded_is_not_asked_twice() -> None:
    served = targets(1, 1)
    for name in STEERED:
        slow_start = warming(*served, name=name)
        picker = scheduler(name, served)
        assert all(slow_start.pick(picker, (), ONE) is not None for _ in range(50))


def test_a_new_endpoint_is_picked_when_the_others_were_tried() -> None:
    served = targets(1, 1)
    new, old = served
    for name in STEERED:
        slow_start = warming(new, name=name)
        assert slow_start.pick(scheduler(name, served), (old,), ONE) is new
        assert slow_start.pick(scheduler(name, served), (old, new), ONE) is None


def test_it_forgets_who_left_and_all_when_it_is_switched_off() -> None:
    one, two = targets(1, 1)
    slow_start = warming(one, two)
    slow_start.keep({two})
    assert slow_start.share(one, START) == 1.0
    assert slow_start.share(two, START) == FIRST
    slow_start.seconds = 0.0
    slow_start.keep({two})
    assert not slow_start
    slow_start.begin([one], START)
    assert not slow_start


@given(
    st.sampled_from(STEERED),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.sets(st.integers(0, 5)),
    st.sets(st.integers(0, 5)),
    st.floats(0, 40),
    st.integers(0, 99),
)
def test_a_pick_is_one_that_serves_and_was_not_tried(
    name: str, weights: list[int], new: set[int], tried: set[int], age_s: float, seed: int
) -> None:
    served = targets(*weights)
    every = [*served]
    slow_start = warming(*(every[place] for place in new if place < len(every)), seed=seed, name=name)
    passed = [every[place] for place in tried if place < len(every)]
    for _ in range(5):
        picked = slow_start.pick(scheduler(name, served, seed), passed, replace(ONE, began=START + age_s))
        if len(passed) == len(every):
            assert picked is None
        else:
            assert picked in served
            assert picked not in passed
