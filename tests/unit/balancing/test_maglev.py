"""Maglev: even by weight, and hardly anybody moves when a target comes or goes."""

from __future__ import annotations

from collections import Counter

import pytest

from ingressd.balancing.maglev import SLOTS, filled
from tests.unit.balancing.targets import Request, Target, clients, scheduler, targets


def test_the_number_of_slots_is_a_prime() -> None:
    assert all(SLOTS % number for number in range(2, 64))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40])
def test_the_slots_are_shared_evenly(count: int) -> None:
    served = [*targets(*[1] * count)]
    table = filled(served, [1] * count)
    assert len(table) == SLOTS
    slots = Counter(table).values()
    assert max(slots) - min(slots) <= 1


def test_the_slots_are_shared_by_weight() -> None:
    served = [*targets(5, 3, 2)]
    slots = Counter(filled(served, [5, 3, 2]))
    for target, weight in zip(served, (5, 3, 2), strict=True):
        assert abs(slots[target] - SLOTS * weight / 10) <= 5


def test_each_slot_is_the_first_free_one_of_somebodys_order() -> None:
    """The table of the paper, filled by the letter: one slot a turn out of whole permutations."""
    served = [*targets(1, 1, 1, 1)]
    table = filled(served, [1] * 4)
    alone = {target: filled([target], [1]) for target in served}
    assert all({*alone[target]} == {target} for target in served)
    first = {table.index(target) for target in served}
    assert len(first) == 4


@pytest.mark.parametrize(("count", "parts"), [(3, 2), (5, 2), (10, 2), (50, 3)])
def test_when_a_target_leaves_hardly_anybody_else_moves(count: int, parts: int) -> None:
    """The fewer slots a target has, the more of the others shift: `parts` times its own part moves at most."""
    served = targets(*[1] * count)
    made = scheduler("maglev", served)
    everybody = clients(5000)
    for gone in [*served][:: max(1, count // 3)]:
        made.update(served)
        before = [made.pick((), request) for request in everybody]
        made.update({target: 1 for target in served if target is not gone})
        after = [made.pick((), request) for request in everybody]
        pairs = [*zip(before, after, strict=True)]
        theirs = sum(old is gone for old, _ in pairs)
        moved = sum(old is not new for old, new in pairs)
        assert theirs > 0
        assert moved <= parts / count * len(everybody), f"{moved} moved, {theirs} had to"


@pytest.mark.parametrize("count", [3, 5, 10])
def test_when_a_target_comes_it_takes_its_part_and_little_else_changes(count: int) -> None:
    served = targets(*[1] * count)
    made = scheduler("maglev", served)
    everybody = clients(5000)
    before = [made.pick((), request) for request in everybody]
    new = Target("10.0.9.9:80")
    made.update({**served, new: 1})
    after = [made.pick((), request) for request in everybody]
    moved = sum(old is not now for old, now in zip(before, after, strict=True))
    assert abs(after.count(new) / len(everybody) - 1 / (count + 1)) < 0.03
    assert moved <= 2 / (count + 1) * len(everybody)


def test_sh_moves_most_of_them() -> None:
    """What maglev is for: the table of IPVS sh shifts."""
    served = targets(*[1] * 10)
    made = scheduler("sh", served)
    everybody = clients(5000)
    before = [made.pick((), request) for request in everybody]
    made.update(dict([*served.items()][1:]))
    after = [made.pick((), request) for request in everybody]
    assert sum(old is not new for old, new in zip(before, after, strict=True)) > 0.5 * len(everybody)


def test_a_client_stays_whatever_it_asks_for() -> None:
    made = scheduler("maglev", targets(1, 1, 1, 1))
    assert len({made.pick((), Request("10.0.0.1", host, began)) for host in "abcdef" for began in (1.0, 9e9)}) == 1


def test_weights_larger_than_the_table_keep_their_proportions() -> None:
    served = targets(60_000, 30_000, 1)
    made = scheduler("maglev", served)
    seen = Counter(made.pick((), request) for request in clients(6000))
    heavy, middle, light = served
    assert abs(seen[heavy] / 6000 - 2 / 3) < 0.03
    assert abs(seen[middle] / 6000 - 1 / 3) < 0.03
    assert made.pick((heavy, middle), Request()) is light
