"""Who serves: health, ejections, and when they are ignored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingressd.settings import Limits
from ingressd.table.endpoint import Endpoint
from ingressd.table.health import OutlierDetection
from ingressd.table.pool import Pool
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.outlier import Outliers
from ingressd.upstream.serving import serving


def arranged(letters: str, panic_percent: int = 50) -> tuple[str, bool]:
    """One endpoint a letter: `h` healthy, `u` unhealthy, `e` healthy but ejected, `x` both, `0` healthy, no weight.

    Returns the letters of those that serve, and whether it is panic.
    """
    endpoints = [
        Endpoint(f"10.0.0.{place}", 80, weight=0 if letter == "0" else 3, healthy=letter in "he0")
        for place, letter in enumerate(letters)
    ]
    states = [EndpointState(each.address, 80, each.key, None, Limits()) for each in endpoints]
    outliers = Outliers(OutlierDetection(consecutive_failures=1, max_ejection_percent=100), lambda *_: None)
    outliers.follow(states)
    for state, letter in zip(states, letters, strict=True):
        if letter in "ex":
            state.failed(1.0)
            assert outliers.is_ejected(state)
    pool = Pool("default/web:80", "default", "web", "80", tuple(endpoints), panic_percent=panic_percent)
    weights, panic = serving(states, pool, outliers)
    assert {*weights.values()} <= {3}
    assert serving(states, replace(pool, outliers=None), None).panic is panic
    return "".join(letters[states.index(state)] for state in weights), panic


@pytest.mark.parametrize(
    ("letters", "serve", "panic"),
    [
        ("hhhh", "hhhh", False),
        ("huhh", "hhh", False),
        ("huhu", "hh", False),
        ("uuhu", "uuhu", True),
        ("uuuu", "uuuu", True),
        ("u", "u", True),
        ("hu", "h", False),
        ("h00", "h", False),
        ("hu0", "h", False),
        ("hehe", "hh", False),
        ("heee", "heee", False),
        ("eu", "e", False),
        ("hhuex", "hhe", False),
        ("hhhuex", "hhh", False),
        ("huuex", "huu", True),
        ("0", "", False),
        ("", "", False),
    ],
)
def test_the_healthy_serve_unless_they_are_too_few(letters: str, serve: str, panic: bool) -> None:
    assert arranged(letters) == (serve, panic)


@pytest.mark.parametrize(
    ("letters", "percent", "serve", "panic"),
    [
        ("huuu", 0, "h", False),
        ("uuuu", 0, "", False),
        ("eu", 0, "e", False),
        ("heee", 0, "h", False),
        ("huuu", 25, "h", False),
        ("huuu", 26, "huuu", True),
        ("hhhu", 100, "hhhu", True),
        ("hhhe", 100, "hhhe", False),
    ],
)
def test_the_threshold_is_the_operators(letters: str, percent: int, serve: str, panic: bool) -> None:
    assert arranged(letters, percent) == (serve, panic)
