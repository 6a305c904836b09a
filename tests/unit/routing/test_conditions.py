"""Conditions: which requests each takes, the order in which a canary's rules decide, and the shares of chance."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Mapping

import pytest

from ingressd.routing.conditions import (
    DICE,
    HEADER,
    QUERY,
    SEARCHED,
    All,
    Canary,
    Decided,
    Field,
    Methods,
    Share,
    Sticky,
)
from tests.support.asked import asked


def test_methods_are_compared_as_they_are_sent() -> None:
    condition = Methods(("GET", "HEAD"))
    assert [condition.takes(asked(method=each)) for each in ("GET", "HEAD", "get", "POST")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("condition", "headers", "takes"),
    [
        (Field(HEADER, "x-env", "beta"), {"X-Env": "beta"}, True),
        (Field(HEADER, "x-env", "beta"), {"X-Env": "Beta"}, False),
        (Field(HEADER, "x-env", "beta"), {}, False),
        (Field(HEADER, "x-env", ""), {"X-Env": ""}, True),
        (Field(HEADER, "x-env", ""), {"X-Env": "a"}, False),
        (Field(HEADER, "x-env"), {"X-Env": ""}, True),
        (Field(HEADER, "x-env"), {}, False),
        (Field(HEADER, "x-env", None, re.compile("be")), {"X-Env": "a beta"}, True),
        (Field(HEADER, "x-env", None, re.compile("^be")), {"X-Env": "a beta"}, False),
        (Field(HEADER, "x-env", None, re.compile("be")), {"X-Env": "be" + "x" * SEARCHED}, False),
        (Field(HEADER, "host", "a.test:81"), {}, True),
    ],
)
def test_headers(condition: Field, headers: Mapping[str, str], *, takes: bool) -> None:
    assert condition.takes(asked("http://a.test:81/", headers=headers)) is takes


@pytest.mark.parametrize(
    ("condition", "query", "takes"),
    [
        (Field(QUERY, "v", "a b"), "v=a+b", True),
        (Field(QUERY, "v", "a b"), "v=a%20b", True),
        (Field(QUERY, "v", "a b"), "w=a%20b", False),
        (Field(QUERY, "v"), "v", True),
        (Field(QUERY, "v"), "", False),
        (Field(QUERY, "v", "1"), "v=2&v=1", False),
        (Field(QUERY, "v", None, re.compile(r"^\d$")), "v=%31", True),
        (Field(QUERY, "v", "é"), "v=%C3%A9", True),
    ],
)
def test_parameters_are_compared_decoded_and_the_first_one_counts(condition: Field, query: str, *, takes: bool) -> None:
    assert condition.takes(asked(f"http://a.test/?{query}")) is takes


def test_all_of_several_and_nothing_of_none() -> None:
    both = All((Methods(("GET",)), Field(HEADER, "x")))
    assert [both.takes(asked(headers={"X": "1"})), both.takes(asked()), both.takes(asked(method="PUT"))] == [
        True,
        False,
        False,
    ]
    assert not All(()).takes(asked())
    assert (str(both), str(All(()))) == ("method GET and header x", "nothing")


def _verdict(canary: Canary, **headers: str) -> bool | None:
    return canary.verdict(asked(headers={name.replace("_", "-"): value for name, value in headers.items()}))


def test_a_header_without_a_value_knows_two_words() -> None:
    canary = Canary(header="x-canary")
    assert [_verdict(canary, X_Canary=word) for word in ("always", "never", "Always", "")] == [True, False, None, None]
    assert _verdict(canary) is None


def test_a_header_with_a_value_knows_this_one_only() -> None:
    canary = Canary(header="x-canary", value="beta", pattern=re.compile("never"))
    assert [_verdict(canary, X_Canary=word) for word in ("beta", "always", "never")] == [True, None, None]


def test_a_pattern_is_found_or_says_nothing() -> None:
    canary = Canary(header="x-canary", pattern=re.compile("^b"))
    assert [_verdict(canary, X_Canary=word) for word in ("beta", "always", "never")] == [True, None, None]


def test_a_broken_pattern_keeps_requests_with_the_header_away() -> None:
    canary = Canary(header="x-canary", broken=True, cookie="c")
    assert _verdict(canary, X_Canary="always") is False
    assert _verdict(canary, Cookie="c=always") is True
    assert _verdict(Canary(header="x-canary", value="beta", broken=True), X_Canary="beta") is True
    assert not Canary(header="x-canary", broken=True).decides


def test_a_cookie_decides_after_the_header() -> None:
    canary = Canary(header="x-canary", cookie="c")
    assert _verdict(canary, X_Canary="never", Cookie="c=always") is False
    assert _verdict(canary, X_Canary="other", Cookie="c=always") is True
    assert _verdict(canary, X_Canary="other", Cookie="c=never") is False
    assert _verdict(canary, X_Canary="other", Cookie="c=other") is None


def test_the_cookie_of_a_session_comes_before_everything() -> None:
    rule = Decided(Canary(header="x-canary"), Sticky("s", "mine", ("main", "other")))

    def verdict(cookies: str, header: str = "") -> bool | None:
        return rule.verdict(asked(headers={"Cookie": cookies, "X-Canary": header}))

    assert verdict("s=token.mark.mine", "never") is True
    assert verdict("s=token.mark.main", "always") is False
    assert verdict("s=token.mark.unknown; s=mark.mine", "never") is True
    assert verdict("s=token.mark.unknown", "always") is True
    assert verdict("t=token.mark.mine") is None


def _drawn(shares: list[Share], count: int = 4000, **headers: str) -> Counter[int | None]:
    request = asked(headers={name.replace("_", "-"): value for name, value in headers.items()})
    DICE.seed(1)
    return Counter(
        next((number for number, each in enumerate(shares) if each.takes(request)), None) for _ in range(count)
    )


def _shares(*canaries: Canary) -> list[Share]:
    rules = [Decided(canary) for canary in canaries]
    return [Share(rule, tuple(rules[:number])) for number, rule in enumerate(rules)]


NOISE = 4 * (4000 * 0.25) ** 0.5
"""Four standard deviations of the most uncertain share of 4000 draws."""


def test_weights_are_shares_of_one_draw() -> None:
    counts = _drawn(_shares(Canary(weight=20), Canary(weight=3, total=10), Canary(weight=1, total=1000)))
    for number, share in ((0, 0.2), (1, 0.3), (2, 0.001), (None, 0.499)):
        assert abs(counts[number] - 4000 * share) < NOISE


def test_a_canary_that_a_header_keeps_away_leaves_its_share_to_the_main_route() -> None:
    shares = _shares(Canary(header="x-one", weight=50), Canary(weight=25))
    counts = _drawn(shares, X_One="never")
    assert counts[0] == 0
    assert abs(counts[1] - 1000) < NOISE


def test_nothing_is_left_over_by_a_whole_share() -> None:
    assert _drawn(_shares(Canary(weight=100), Canary(weight=50)), 200) == {0: 200}
    assert _drawn(_shares(Canary(weight=0)), 200) == {None: 200}
    assert _drawn(_shares(Canary(weight=60), Canary(weight=300, total=200)), 200).keys() == {0, 1}


def test_what_they_say_of_themselves() -> None:
    pattern = re.compile("^b")
    assert [
        str(Decided(Canary(header="x", value="y"))),
        str(Decided(Canary(header="x", pattern=pattern, cookie="c"))),
        str(Decided(Canary(header="x", broken=True, cookie="c"))),
        str(Decided(Canary())),
        str(Share(Decided(Canary(weight=5, total=200)))),
        str(Field(QUERY, "v", None, pattern)),
    ] == [
        "canary: header x=y",
        "canary: header x like ^b or cookie c=always",
        "canary: cookie c=always",
        "canary: a session that began there",
        "canary: 5 of 200 requests",
        "query v like ^b",
    ]


def test_they_travel_to_workers_and_stay_equal() -> None:
    conditions = (
        All((Field(HEADER, "x", None, re.compile("a")),)),
        Share(Decided(Canary(weight=1), Sticky("a", "b", ()))),
    )
    assert pickle.loads(pickle.dumps(conditions)) == conditions
