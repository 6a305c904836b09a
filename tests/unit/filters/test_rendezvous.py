"""Rendezvous hashing: even, the same everywhere, and hardly disturbed by what comes and goes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.rendezvous import best, digest, several
from tests.unit.filters.endpoints import Place, places

KEYS = [f"key {number}" for number in range(3000)]


def owners(endpoints: list[Place]) -> dict[str, Place | None]:
    return {key: best(key, endpoints) for key in KEYS}


def test_every_endpoint_gets_its_share() -> None:
    counts = Counter(owners(places(10)).values())
    # Five standard deviations of a tenth of 3000 keys are 82.
    assert all(abs(counts[endpoint] - 300) < 82 for endpoint in places(10))


def test_when_an_endpoint_leaves_only_its_keys_move_and_spread_over_the_others() -> None:
    before = owners(places(10))
    gone, *left = places(10)
    after = owners(left)
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == gone}
    assert len({after[key] for key in moved}) == 9


def test_when_one_comes_it_takes_its_share_and_nobody_else_gets_anything() -> None:
    before, after = owners(places(9)), owners(places(10))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {places(10)[9]}
    assert abs(len(moved) - 300) < 82


def test_the_order_of_the_endpoints_does_not_matter() -> None:
    assert owners(places(10)) == owners(places(10)[::-1])


def test_another_process_finds_the_same() -> None:
    program = (
        "from ingressd.filters.rendezvous import best, digest; from tests.unit.filters.endpoints import places;"
        "print(digest('a', b'b'), [best(f'key {n}', places(10)).key for n in range(20)])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    here = [endpoint.key for key in KEYS[:20] if (endpoint := best(key, places(10)))]
    assert done.stdout == f"{digest('a', b'b')} {here}\n"


@given(st.text(max_size=40), st.sets(st.sampled_from(places(8))))
def test_what_was_tried_is_not_chosen_again(key: str, tried: set[Place]) -> None:
    found = best(key, places(8), tried)
    assert (found is None) == (len(tried) == 8)
    assert found not in tried
    left = [endpoint for endpoint in places(8) if endpoint not in tried]
    assert found == best(key, left)


def test_a_subset_keeps_most_of_itself() -> None:
    for key in KEYS[:300]:
        before = several(key, places(10), 3)
        assert len(set(before)) == 3
        assert before[0] == best(key, places(10))
        after = several(key, [endpoint for endpoint in places(10) if endpoint != before[1]], 3)
        assert after[:2] == [before[0], before[2]]
    assert several("key", places(2), 3) == sorted(places(2), key=lambda each: each != best("key", places(2)))
    assert several("key", [], 3) == []
