"""lc, wlc, sed and nq against the formulas of IPVS, in whole numbers as the kernel compares them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.balancing.targets import ONE, Target, scheduler, targets

LOADS = st.lists(st.tuples(st.integers(0, 65_535), st.integers(0, 20_000)), min_size=1, max_size=8)

FORMULAS: dict[str, Callable[[int, int], Fraction]] = {
    "lc": lambda active, weight: Fraction(active),
    "wlc": lambda active, weight: Fraction(active, weight),
    "sed": lambda active, weight: Fraction(active + 1, weight),
    "nq": lambda active, weight: Fraction(active + 1, weight) if active else Fraction(0),
}


@settings(deadline=None)
@given(loads=LOADS)
@pytest.mark.parametrize("name", FORMULAS)
def test_what_is_picked_has_the_least_load(name: str, loads: list[tuple[int, int]]) -> None:
    served = targets(*(weight for weight, _ in loads))
    for target, (_, active) in zip(served, loads, strict=True):
        target.active = active
    formula = {target: FORMULAS[name](target.active, weight) for target, weight in served.items() if weight}
    made = scheduler(name, served)
    tried: tuple[Target, ...] = ()
    while left := {target: load for target, load in formula.items() if target not in tried}:
        picked = made.pick(tried, ONE)
        assert picked is not None
        assert left[picked] == min(left.values())
        tried += (picked,)


@pytest.mark.parametrize("name", FORMULAS)
def test_of_equal_ones_the_one_that_waits_longest_is_picked(name: str) -> None:
    served = targets(1, 1, 1)
    made = scheduler(name, served)
    picked = [made.pick((), ONE) for _ in range(9)]
    assert {*picked[:3]} == {*served}
    assert picked[:3] * 3 == picked


@pytest.mark.parametrize("name", FORMULAS)
def test_workers_begin_with_different_targets(name: str) -> None:
    served = targets(1, 1, 1)
    assert len({scheduler(name, served, seed).pick((), ONE) for seed in range(20)}) == 3


@pytest.mark.parametrize("name", FORMULAS)
def test_those_that_stay_keep_their_places_in_the_queue(name: str) -> None:
    served = targets(1, 1, 1)
    made = scheduler(name, served)
    order = [made.pick((), ONE) for _ in range(3)]
    new = Target("10.0.0.9:80")
    made.update({**served, new: 1})
    assert [made.pick((), ONE) for _ in range(4)] == [new, *order]


def test_under_requests_that_never_end_sed_fills_by_weight() -> None:
    served = targets(4, 2, 1)
    made = scheduler("sed", served)
    for _ in range(70):
        made.pick((), ONE).active += 1
    assert [target.active for target in served] == [40, 20, 10]


def test_nq_gives_an_idle_target_work_that_sed_would_give_to_a_heavy_one() -> None:
    served = targets(9, 1)
    heavy, light = served
    heavy.active = 1
    assert scheduler("nq", served).pick((), ONE) is light
    assert scheduler("sed", served).pick((), ONE) is heavy


def test_a_slow_target_gets_less() -> None:
    served = targets(1, 1, 1)
    slow, *_ = served
    slow.active = 3
    made = scheduler("lc", served)
    assert Counter(made.pick((), ONE) for _ in range(100))[slow] == 0
