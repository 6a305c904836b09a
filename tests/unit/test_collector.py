"""The garbage collector stands aside in a block, and takes up its work afterwards as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ingressd.collector import MANY, YOUNG, paused, resume, settle


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_in_the_block_and_in_those_inside() -> None:
    with paused():
        assert not gc.isenabled()
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_block_that_fails_ends_the_pause() -> None:
    with pytest.raises(ValueError, match="no"), paused():
        raise ValueError("no")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with paused(freeze=True):
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize(
    ("objects", "freeze", "frozen"), [(MANY * 2, True, True), (MANY * 2, False, False), (9, True, False)]
)
def test_many_new_objects_are_kept_from_the_collector_when_they_stay(objects: int, freeze: bool, frozen: bool) -> None:
    gc.collect()
    before = gc.get_freeze_count()
    with paused(freeze=freeze):
        made: list[list[object]] = [[] for _ in range(objects)]
    assert (gc.get_freeze_count() - before >= objects) == frozen
    assert len(made) == objects


def test_what_is_settled_is_never_walked_again_and_new_objects_are_looked_at_less_often() -> None:
    usual = gc.get_threshold()
    try:
        settle()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == (YOUNG, *usual[1:])
    finally:
        gc.set_threshold(*usual)


def test_a_collector_that_stood_aside_takes_up_its_work_without_what_was_imported() -> None:
    usual = gc.get_threshold()
    gc.disable()
    try:
        resume()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == usual
        resume(after=MANY)
        assert gc.get_threshold() == (MANY, *usual[1:])
    finally:
        gc.set_threshold(*usual)
