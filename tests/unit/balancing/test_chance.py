"""random deals evenly; p2c takes the better of two different ones."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.balancing.targets import ONE, even, scheduler, targets

DRAWS = 30_000


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_gives_each_target_the_same_probability(count: int, seed: int) -> None:
    served = targets(*[1] * count)
    made = scheduler("random", served, seed)
    assert even(Counter(made.pick((), ONE) for _ in range(DRAWS)), served)


def test_random_knows_no_weights_as_kube_proxy_does_not() -> None:
    served = targets(50, 1, 1)
    made = scheduler("random", served)
    assert even(Counter(made.pick((), ONE) for _ in range(DRAWS)), dict.fromkeys(served, 1))


def test_each_draw_is_independent_of_the_one_before() -> None:
    served = targets(1, 1)
    one, other = served
    made = scheduler("random", served)
    picked = [made.pick((), ONE) for _ in range(DRAWS)]
    pairs = Counter(zip(picked[::2], picked[1::2], strict=True))
    expected = DRAWS / 2 / 4
    square = sum((pairs[a, b] - expected) ** 2 / expected for a in (one, other) for b in (one, other))
    assert square < 16.27


def test_a_second_attempt_is_as_even_among_the_others() -> None:
    served = targets(1, 1, 1, 1)
    first, *others = served
    for name in ("random", "p2c"):
        made = scheduler(name, served)
        assert even(Counter(made.pick((first,), ONE) for _ in range(DRAWS)), dict.fromkeys(others, 1)), name


def test_p2c_is_even_among_equals() -> None:
    served = targets(1, 1, 1, 1, 1)
    made = scheduler("p2c", served)
    assert even(Counter(made.pick((), ONE) for _ in range(DRAWS)), served)


def test_p2c_never_takes_the_busiest_and_takes_the_idlest_whenever_it_is_drawn() -> None:
    served = targets(1, 1, 1, 1)
    for active, target in enumerate(served):
        target.active = active
    made = scheduler("p2c", served)
    seen = Counter(made.pick((), ONE) for _ in range(DRAWS))
    # Of the six pairs the idlest is in three, the next is the better one in two, then one, then none.
    assert seen[[*served][3]] == 0
    assert even(Counter({t: n for t, n in seen.items() if n}), dict(zip([*served][:3], (3, 2, 1), strict=True)))


def test_p2c_compares_by_weight() -> None:
    served = targets(4, 1)
    heavy, light = served
    heavy.active = 2
    made = scheduler("p2c", served)
    assert {made.pick((), ONE) for _ in range(50)} == {heavy}, "3/4 is less than 1/1"
    heavy.active = 4
    assert {made.pick((), ONE) for _ in range(50)} == {light}, "5/4 is more than 1/1"
