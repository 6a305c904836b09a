"""What a run of the compiler leaves to the next one."""

from __future__ import annotations

from ingressd.compile.kept import Kept


def test_a_value_lasts_as_long_as_each_run_keeps_it() -> None:
    kept: Kept[str, int] = Kept()
    kept.turn()
    assert kept.before("a") is None
    assert kept.keep("a", 1) == 1
    kept.keep("b", 2)
    kept.turn()
    assert (kept.before("a"), kept.before("b")) == (1, 2)
    kept.keep("a", 3)
    kept.turn()
    assert (kept.before("a"), kept.before("b")) == (3, None)


def test_what_a_run_keeps_is_for_the_next_one() -> None:
    kept: Kept[str, int] = Kept()
    kept.keep("a", 1)
    assert kept.before("a") is None
