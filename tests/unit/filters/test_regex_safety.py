"""What an expression may cost: what is refused, and that whatever is not refused costs what its text is long."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.filters.regex_safety import MOST_CHARACTERS, refusal

_parser: Any = import_module("re._parser")


@pytest.mark.parametrize(
    "pattern",
    [
        "/",
        "/something(/|$)(.*)",
        "/(api|app|admin)/(v1|v2)?(/.*)?$",
        r"/.*\.(js|css|png|jpe?g|gif|svg|ico|woff2?)$",
        "/([^/]+)/([^/]+)/(.*)",
        "/(?!api/.*|static/.*)(.*)",
        "/((?!admin).)*$",
        "/foo/?$",
        "/foo.*bar",
        "/a/(.*)/b/(.*)",
        "/a/(.*)/b/(.*)$",
        r"/v[0-9]+(\.[0-9]+)*$",
        "/[a-z0-9]+(-[a-z0-9]+)*/x",
        "/([a-z]{2})(-[a-z]{2})?/(.*)",
        r"/\d{4}-\d{2}-\d{2}",
        "/.{0,20}x",
        "/x(/.*)*",
        "/(?<=a)b",
        r"/[^\d\s]+/[\w-]+\b",
        "/[é-ü]+(?i:x)",
        "^(beta|next)$",
        "^/api/.*|^/v[12]/.*",
        "(?:^|/)x+/",
        "/a(^a+)+b",
    ],
)
def test_expressions_as_people_write_them_are_used(pattern: str) -> None:
    assert refusal(pattern, re.IGNORECASE) == ""


AMBIGUOUS = "can read a text in too many ways: a long one that does not match would take too long"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("/(a+)+b", AMBIGUOUS),
        ("/(a|a)*b", AMBIGUOUS),
        ("/(a|aa)+$", AMBIGUOUS),
        ("/(.*)b([a-z]*)$", AMBIGUOUS),
        ("/.*a.*b", AMBIGUOUS),
        ("/a/(.*)/b/(.*)/c", AMBIGUOUS),
        ("/.{0,30}.{0,30}.{0,30}x", AMBIGUOUS),
        ("/a?" + "a?" * 12 + "a" * 12, AMBIGUOUS),
        ("/(|)(|)(|)(|)(|)(|)(|)(|)(|)b", AMBIGUOUS),
        ("/x(y(.*z)?)*", AMBIGUOUS),
        ("/[é-ü]*[ä-ö]*x", AMBIGUOUS),
        ("/(?=.*a.*b)", AMBIGUOUS),
        ("^(a+)+b", AMBIGUOUS),
        (r"\A(a+)+b", AMBIGUOUS),
        ("/|^(a+)+b", AMBIGUOUS),
        ("(?:^|/)(a+)+b", AMBIGUOUS),
        ("(?:^)?(a|a)*b", AMBIGUOUS),
        (r"\b^(?=(a+)+b)", AMBIGUOUS),
        ("(^a?)*b", "repeats something that may be empty"),
        ("/(a*)*b", "repeats something that may be empty"),
        ("/(a?){30}b", "repeats something that may be empty"),
        (r"/(\b)+b", "repeats something that may be empty"),
        ("/.*(?!.*foo)x", "looks more than 64 characters ahead, behind a repeat or in one"),
        ("/((?=.{65})a)*x", "looks more than 64 characters ahead, behind a repeat or in one"),
        (r"/(a)\1", "refers to a group: write its content once more"),
        ("/(a)?(?(1)b|c)", "refers to a group: write its content once more"),
        ("/a++", "has a possessive quantifier or an atomic group: write it without"),
        ("/(?>a)", "has a possessive quantifier or an atomic group: write it without"),
        ("/x{2000}", "has more than 1000 characters when its repeats are written out"),
        ("/x{99999999999}", "repeats something too often"),
        ("/(a", "is not understood: missing ), unterminated subpattern, at character 2"),
        ("/(?<a>b)", "is not understood: unknown extension ?<a, at character 3"),
        ("/[[a]", "has a `[`, or one of `--`, `&&`, `||`, `~~`, in a set: write a backslash before it"),
        ("/[a&&b]", "has a `[`, or one of `--`, `&&`, `||`, `~~`, in a set: write a backslash before it"),
        ("/" + "a" * MOST_CHARACTERS, "has 513 characters, and 512 are the most"),
        ("/" + "(.|" * 70 + "x" + ")" * 70 + "y", AMBIGUOUS),
    ],
)
def test_an_expression_that_could_hold_a_worker_or_is_not_understood_is_refused(pattern: str, why: str) -> None:
    assert refusal(pattern, re.IGNORECASE) == why


def test_an_expression_with_too_many_states_to_follow_is_refused() -> None:
    # Which of the last places were an a: 2 to the power of 18 sets.
    assert refusal("/.*a.{18}b") in (AMBIGUOUS, "is too complicated to say what it costs")


MOST_STEPS = 40_000


class _TooLong(Exception):
    pass


class _Backtracker:
    """The engine's way of trying, step by step, for the few signs that the test writes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.steps = 0

    def matches(self, nodes: Sequence[Any], at: int, then: Callable[[int], bool]) -> bool:
        if not nodes:
            return then(at)
        (operation, argument), rest = nodes[0], nodes[1:]

        def after(place: int) -> bool:
            return self.matches(rest, place, then)

        match str(operation):
            case "LITERAL" | "ANY" | "IN":
                self.steps += 1
                if self.steps > MOST_STEPS:
                    raise _TooLong
                return self._text[at : at + 1] in _letters(str(operation), argument) and after(at + 1)
            case "AT":
                return at == (0 if str(argument) == "AT_BEGINNING" else len(self._text)) and after(at)
            case "SUBPATTERN":
                return self.matches([*argument[3]], at, after)
            case "BRANCH":
                return any(self.matches([*each], at, after) for each in argument[1])
            case "MAX_REPEAT":
                return self._repeats(argument[0], argument[1], [*argument[2]], at, after)
        raise AssertionError(operation)

    def _repeats(self, least: int, most: int, body: list[Any], at: int, then: Callable[[int], bool]) -> bool:
        def again(place: int) -> bool:
            return place > at and self._repeats(max(least - 1, 0), most - 1, body, place, then)

        return (most > 0 and self.matches(body, at, again)) or (least == 0 and then(at))


def _letters(operation: str, argument: Any) -> set[str]:
    if operation == "ANY":
        return {"a", "b", "!"}
    return {chr(argument)} if operation == "LITERAL" else {chr(code) for _, code in argument}


def _steps(pattern: str, text: str) -> int:
    tried = _Backtracker(text)
    found = tried.matches([*_parser.parse(pattern)], 0, lambda at: True)
    assert found == (re.match(pattern, text) is not None)
    return tried.steps


letters = st.sampled_from(["a", "b", "."])
patterns = st.recursive(
    letters,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: f"(?:{'|'.join(each)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,3}", "{2}"])).map(lambda each: f"(?:{each[0]}){each[1]}"),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from(["", "^"]), patterns, st.sampled_from(["", "$", "c"]), st.text("ab", min_size=1, max_size=3))
def test_what_is_not_refused_costs_twice_as_much_for_twice_the_text(
    begin: str, pattern: str, end: str, word: str
) -> None:
    pattern = begin + pattern
    if refusal(pattern + end):
        return
    text = word * 80
    try:
        few, many = _steps(pattern + end, text[:40] + "!"), _steps(pattern + end, text[:80] + "!")
    except _TooLong:
        pytest.fail(f"{pattern}{end} takes more than {MOST_STEPS} steps")
    # What is quadratic takes four times as many.
    assert many <= 3 * few + 200


def test_the_backtracker_of_this_test_sees_what_is_too_expensive() -> None:
    assert _steps(".*a.*b", "a" * 80) > 3 * _steps(".*a.*b", "a" * 40)
    with pytest.raises(_TooLong):
        _steps("(?:a|a)*b", "a" * 40)
