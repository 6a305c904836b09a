"""What was made of the objects of a sequence is made again of those alone that are others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.compile.series import Line, Series, Those


class _Each:
    """An object of which something is made."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Made:
    def __init__(self, of: _Each) -> None:
        self.of = of


EACH = tuple(_Each(number) for number in range(6))
SEQUENCES = st.lists(st.sampled_from(EACH), unique=True, max_size=6).map(tuple)
STALE = st.sets(st.integers(0, 5), max_size=2)


def _line(series: Series[_Each, _Made], keys: tuple[_Each, ...]) -> Line[_Each]:
    return Line.of(series.keys, keys)


@given(st.lists(st.tuples(SEQUENCES, STALE), max_size=8))
def test_whatever_the_sequences_each_object_has_its_value_and_a_line_says_where_others_are(
    runs: list[tuple[tuple[_Each, ...], set[int]]],
) -> None:
    series: Series[_Each, _Made] = Series()
    odd: Those[_Made] = Those(lambda made: made.of.number % 2)
    for keys, numbers in runs:
        stale = {key for key in series.keys if key.number in numbers}
        before = dict(zip(series.keys, series.values, strict=True))
        line = series.of(_line(series, keys), _Made, stale)
        assert [made.of for made in line.now] == list(keys)
        assert line.now is series.values
        if len(keys) == len(before):
            assert line.where is not None
            others = {place for place, made in enumerate(line.now) if made is not line.before[place]}
            assert others <= set(line.where)
        else:
            assert line.where is None
        for key, made in zip(keys, line.now, strict=True):
            if key in stale:
                assert made is not before[key]
            elif line.where is None:
                assert made is before.get(key, made)
        assert odd.of(line) == tuple(made for made in line.now if made.of.number % 2)


def test_only_the_objects_that_are_others_are_asked() -> None:
    asked: list[_Each] = []

    def make(key: _Each) -> _Made:
        asked.append(key)
        return _Made(key)

    series: Series[_Each, _Made] = Series()
    first = series.of(_line(series, EACH[:3]), make)
    again = series.of(_line(series, EACH[:3]), make)
    assert again.now is first.now
    assert asked == [*EACH[:3]]
    edited = (EACH[0], EACH[5], EACH[2])
    line = series.of(_line(series, edited), make)
    assert asked[3:] == [EACH[5]]
    assert (line.where, line.before) == ((1,), first.now)
    assert line.now[0] is first.now[0]
    longer = series.of(_line(series, (EACH[4], *edited)), make)
    assert asked[4:] == [EACH[4]]
    assert longer.now[1:] == line.now


def test_a_run_that_fails_leaves_what_there_was() -> None:
    series: Series[_Each, _Made] = Series()
    first = series.of(_line(series, EACH[:3]), _Made)

    def fail(key: _Each) -> _Made:
        raise KeyError(key.number)

    with pytest.raises(KeyError):
        series.of(_line(series, (EACH[0], EACH[4], EACH[2])), fail)
    assert series.of(_line(series, EACH[:3]), fail).now is first.now


def test_a_line_from_other_objects_than_those_before_is_compared_anew() -> None:
    line = Line.edited(EACH[:3], {1: EACH[4]})
    assert line.now == (EACH[0], EACH[4], EACH[2])
    assert line.since(line.before) is line
    assert line.since((EACH[0], EACH[4], EACH[3])).where == (2,)
    assert line.since(EACH[:2]).where is None
    assert line.since(line.now).where == ()


def test_those_that_something_is_true_of_stay_while_no_other_one_is() -> None:
    odd: Those[_Each] = Those(lambda each: each.number % 2)
    line = Line.of((), EACH)
    found = odd.of(line)
    assert found == (EACH[1], EACH[3], EACH[5])
    assert odd.of(Line.edited(line.now, {0: _Each(10)})) is found
    eleven = _Each(11)
    assert odd.of(Line.edited(line.now, {1: eleven})) == (eleven, EACH[3], EACH[5])
