"""EditedLines: fields that are set, added and removed by name, one by one or several at once."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.http.edited_lines import EditedLines, FixedFields

GIVEN = (b"Server: app\r\n", b"X-One: a\r\n", b"Vary: Accept\r\n", b"x-one: b\r\n")

names = st.sampled_from(["X-One", "x-one", "Vary", "X-Two", "SERVER", "x-three"])
values = st.sampled_from(["", "1", "a, b"])
steps = st.lists(st.tuples(st.sampled_from(["set", "add", "remove"]), names, values), max_size=8)


def test_a_field_is_set_where_the_first_one_stood() -> None:
    lines = EditedLines(GIVEN)
    lines.set("X-ONE", "c")
    assert lines.lines == [b"Server: app\r\n", b"X-ONE: c\r\n", b"Vary: Accept\r\n"]
    assert lines.values("x-One") == ["c"]


def test_what_it_was_given_stays_as_it_is() -> None:
    kept = list(GIVEN)
    lines = EditedLines(kept)
    lines.set("Server", "other")
    lines.remove("Vary")
    assert kept == list(GIVEN)


def test_several_fields_are_removed_set_and_added_at_once() -> None:
    lines = EditedLines(GIVEN)
    lines.remove_all(frozenset({"x-one", "x-none"}))
    lines.set_fixed(FixedFields.of([("vary", "Origin"), ("X-Two", "2")]))
    lines.add_fixed(FixedFields.of([("Vary", "Cookie")]))
    assert lines.pairs() == [("Server", "app"), ("vary", "Origin"), ("X-Two", "2"), ("Vary", "Cookie")]


@pytest.mark.parametrize(("name", "value"), [("", "a"), ("X One", "a"), ("é", "a"), ("A", "a\r\nB: c"), ("A", " a")])
def test_what_would_be_no_field_is_refused_and_changes_nothing(name: str, value: str) -> None:
    lines = EditedLines(GIVEN)
    for change in (lines.set, lines.add):
        with pytest.raises(ValueError, match=r"no name of a field|break its line"):
            change(name, value)
    with pytest.raises(ValueError, match=r"no name of a field|break its line"):
        FixedFields.of([(name, value)])
    assert lines.lines == list(GIVEN)


def test_a_value_beyond_latin_1_is_sent_as_utf_8() -> None:
    assert FixedFields.of([("X", "\N{SNOWMAN}")]).lines == ("X: \N{SNOWMAN}\r\n".encode(),)


def test_fixed_fields_come_through_a_pickle() -> None:
    fixed = FixedFields.of([("X-One", "1"), ("x-one", "2")])
    copy = pickle.loads(pickle.dumps(fixed))
    assert copy == fixed
    assert copy.taken == {"x-one"}


@given(steps)
def test_names_and_lines_always_belong_together(changes: list[tuple[str, str, str]]) -> None:
    lines = EditedLines(GIVEN)
    model = [(line.partition(b": ")[0].decode(), line.partition(b": ")[2][:-2].decode()) for line in GIVEN]
    for what, name, value in changes:
        same = [number for number, (each, _) in enumerate(model) if each.lower() == name.lower()]
        if what == "remove":
            lines.remove(name)
            model = [pair for number, pair in enumerate(model) if number not in same]
        elif what == "set" and same:
            lines.set(name, value)
            model[same[0]] = (name, value)
            model = [pair for number, pair in enumerate(model) if number not in same[1:]]
        else:
            getattr(lines, what)(name, value)
            model.append((name, value))
    assert lines.pairs() == model
    assert lines.names == [name.lower() for name, _ in model]
