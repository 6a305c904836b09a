from __future__ import annotations

from ingressd.model.shape import invalid, shortened, shown, unsupported


def test_a_place_is_shown_as_people_write_it() -> None:
    assert shown(()) == ""
    assert shown(("spec", "rules", 0, "host")) == "spec.rules[0].host"


def test_a_value_is_shown_short_and_on_one_line() -> None:
    assert shortened("a") == '"a"'
    assert shortened(80) == "80"
    assert shortened("x" * 500) == f'"{"x" * 95}..."'
    assert shortened("a\nlevel=error \x1b[31m") == r'"a\nlevel=error \x1b[31m"'
    assert shortened("é") == '"é"'


def test_a_mistake_says_what_must_be() -> None:
    mistake = invalid(("a", 0), "x", "a number", "write 1")
    assert (mistake.code, mistake.message, mistake.hint) == ("field_invalid", 'a[0]: "x" must be a number', "write 1")


def test_an_unsupported_word_gets_the_nearest_one() -> None:
    assert unsupported(("a",), "exact", ("Exact", "Prefix")).hint == "did you mean Exact?"
    assert unsupported(("a",), "zzz", ("Exact", "Prefix")).hint == ""
