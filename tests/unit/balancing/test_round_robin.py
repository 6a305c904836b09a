"""Round robin gives every target its turn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.balancing.targets import ONE, scheduler, targets


@given(st.integers(1, 20), st.integers(1, 5))
def test_each_target_gets_the_same_number_of_picks(count: int, rounds: int) -> None:
    made = scheduler("rr", targets(*[1] * count))
    picks = Counter(made.pick((), ONE) for _ in range(count * rounds))
    assert {*picks.values()} == {rounds}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 20))
def test_targets_follow_each_other_in_their_order(weights: list[int], seed: int) -> None:
    served = targets(*weights)
    order = [target for target, weight in served.items() if weight]
    made = scheduler("rr", served, seed)
    picked = [made.pick((), ONE) for _ in range(3 * len(order))]
    if order:
        start = order.index(picked[0])
        assert picked == ([*order[start:], *order[:start]] * 3)


def test_workers_begin_with_different_targets() -> None:
    served = targets(1, 1, 1)
    assert len({scheduler("rr", served, seed).pick((), ONE) for seed in range(20)}) == 3


def test_the_turn_goes_on_after_whoever_had_it() -> None:
    served = targets(1, 1, 1, 1, 1)
    one, two, three, four, five = served
    made = scheduler("rr", served)
    while made.pick((), ONE) is not two:
        pass
    made.update({five: 1, one: 1, two: 1, four: 1, three: 1})
    assert made.pick((), ONE) is four
    made.update({five: 1, one: 1, two: 1})
    assert made.pick((), ONE) is five, "it follows two, the nearest before four that stayed"


def test_when_all_are_new_the_turn_begins_somewhere() -> None:
    made = scheduler("rr", targets(1, 1))
    made.pick((), ONE)
    new = targets(1, 1, 1)
    made.update(new)
    assert {made.pick((), ONE) for _ in range(3)} == {*new}


def test_weights_do_not_count() -> None:
    served = targets(9, 1)
    made = scheduler("rr", served)
    assert {*Counter(made.pick((), ONE) for _ in range(100)).values()} == {50}
