"""Memos stay bounded, and forget what is oldest."""

from __future__ import annotations

import pytest

from ingressd.memo import FORGOTTEN, remember


@pytest.mark.parametrize("most", [1, 2, 63, 64, 1000])
def test_the_newest_are_kept_and_never_more_than_may_be(most: int) -> None:
    memo: dict[int, str] = {}
    for number in range(3 * most + 5):
        assert remember(memo, number, str(number), most) == str(number)
        assert len(memo) <= most
        # All but the part that is forgotten at a time.
        kept = min(number + 1, most - most // FORGOTTEN)
        assert list(memo)[-kept:] == list(range(number + 1 - kept, number + 1))


def test_what_is_known_already_takes_the_place_of_nothing() -> None:
    memo = {1: "a", 2: "b"}
    assert remember(memo, 1, "c", 2) == "c"
    assert memo == {1: "c", 2: "b"}
