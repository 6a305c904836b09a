"""Round robin gives every target its turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ingressd.balancing.round_robin import RoundRobin


@dataclass(frozen=True)
class Target:
    key: str
    weight: int = 1
    active: int = 0


def targets(count: int) -> list[Target]:
    return [Target(str(n)) for n in range(count)]


@given(st.integers(1, 20), st.integers(1, 5))
def test_each_target_gets_the_same_number_of_picks(count: int, rounds: int) -> None:
    scheduler: RoundRobin[Target] = RoundRobin()
    scheduler.update(targets(count))
    picks = Counter(scheduler.pick(()) for _ in range(count * rounds))
    assert set(picks.values()) == {rounds}


def test_what_was_tried_is_not_picked_again() -> None:
    scheduler: RoundRobin[Target] = RoundRobin()
    scheduler.update(targets(3))
    tried = [Target("0"), Target("2")]
    assert {scheduler.pick(tried) for _ in range(9)} == {Target("1")}
    assert scheduler.pick(targets(3)) is None


def test_a_target_of_weight_zero_takes_nothing() -> None:
    scheduler: RoundRobin[Target] = RoundRobin()
    scheduler.update([Target("a", weight=0), Target("b")])
    assert {scheduler.pick(()) for _ in range(5)} == {Target("b")}
    scheduler.update([])
    assert scheduler.pick(()) is None


def test_a_second_attempt_takes_nobodys_turn() -> None:
    scheduler: RoundRobin[Target] = RoundRobin()
    scheduler.update(targets(2))
    firsts = []
    for _ in range(10):
        first = scheduler.pick(())
        assert first is not None
        assert scheduler.pick((first,)) not in (None, first)
        firsts.append(first.key)
    assert Counter(firsts) == {"0": 5, "1": 5}
