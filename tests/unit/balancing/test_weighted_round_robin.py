"""wrr against the definition of IPVS: rounds at falling levels, and a cycle in which each has exactly its weight."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.balancing.targets import ONE, Target, keys, scheduler, targets

WEIGHTS = st.lists(st.integers(0, 12), min_size=1, max_size=7).filter(any)


def _kernel(weights: list[int]) -> Iterator[int]:
    """Places, endlessly: the loop that the documentation of Linux Virtual Server describes."""
    place, level = -1, 0
    while True:
        place = (place + 1) % len(weights)
        if place == 0:
            level -= math.gcd(*weights)
            if level <= 0:
                level = max(weights)
        if weights[place] >= level:
            yield place


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 1000))
def test_the_picks_are_those_of_the_kernel_from_some_place_on(weights: list[int], seed: int) -> None:
    weights = [weight for weight in weights if weight]
    served = targets(*weights)
    cycle = sum(weights) // math.gcd(*weights)
    made = scheduler("wrr", served, seed)
    picked = [made.pick((), ONE) for _ in range(2 * cycle)]
    kernel = _kernel(weights)
    reference = [[*served][next(kernel)] for _ in range(3 * cycle)]
    assert any(reference[start : start + 2 * cycle] == picked for start in range(cycle))


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 1000))
def test_in_a_cycle_each_has_exactly_its_weight(weights: list[int], seed: int) -> None:
    served = targets(*weights)
    step = math.gcd(*weights)
    made = scheduler("wrr", served, seed)
    for _ in range(3):
        picks = Counter(made.pick((), ONE) for _ in range(sum(weights) // step))
        assert picks == {target: weight // step for target, weight in served.items() if weight}


def test_the_turns_of_the_heavy_are_interleaved() -> None:
    served = targets(4, 2, 1)
    made = scheduler("wrr", served)
    picked = keys([made.pick((), ONE) for _ in range(14)])
    assert "1112123" in "".join(picked)


def test_with_huge_weights_a_pick_is_as_quick_as_with_small_ones() -> None:
    served = targets(10**9, 10**9 - 1, 1)  # one round after the other would take minutes
    heavy, nearly, light = served
    made = scheduler("wrr", served)
    assert made.pick((heavy, nearly), ONE) is light
    assert made.pick((light, heavy), ONE) is nearly
    picks = Counter(made.pick((), ONE) for _ in range(1000))
    assert picks[light] <= 1
    assert abs(picks[heavy] - picks[nearly]) <= 1


@settings(deadline=None)
@given(WEIGHTS, WEIGHTS, st.integers(0, 30))
def test_after_new_weights_the_very_next_cycle_is_right(before: list[int], after: list[int], picks: int) -> None:
    served = targets(*before)
    made = scheduler("wrr", served)
    for _ in range(picks):
        made.pick((), ONE)
    stay = [*served][: len(after)]
    new = [Target(f"10.1.0.{number}:80") for number in range(len(after) - len(stay))]
    changed = dict(zip([*stay, *new], after, strict=True))
    made.update(changed)
    step = math.gcd(*after)
    seen = Counter(made.pick((), ONE) for _ in range(sum(after) // step))
    assert seen == {target: weight // step for target, weight in changed.items() if weight}


def test_the_turn_goes_on_after_whoever_had_it() -> None:
    served = targets(1, 1, 1)
    one, two, three = served
    made = scheduler("wrr", served)
    while made.pick((), ONE) is not one:
        pass
    made.update({three: 1, one: 1, two: 1})
    assert [made.pick((), ONE) for _ in range(3)] == [two, three, one]
