"""How fast a body has to come, and an answer to be taken."""

from __future__ import annotations

import pytest

from ingressd.listener.pace import AnswerPace, BodyPace
from ingressd.settings import Limits

LIMITS = Limits(body_rate_bytes_s=100, body_rate_grace_s=10, request_body_gap_s=60)


@pytest.mark.parametrize(
    ("count", "now", "patience_s"),
    [
        (0, 0, 10),
        (0, 9, 1),
        (0, 10, 0),
        (999, 9, 1),
        (1000, 10, 0),
        (1100, 10, 1),
        (5000, 10, 40),
        (100_000, 10, 60),
        (0, 11, 0),
    ],
)
def test_patience_is_the_gap_or_the_time_after_which_the_average_is_too_low(
    count: int, now: float, patience_s: float
) -> None:
    pace = BodyPace(0)
    pace.came(count)
    assert pace.patience_s(LIMITS, now) == patience_s


def test_without_a_rate_only_the_gap_counts() -> None:
    assert BodyPace(0).patience_s(Limits(body_rate_bytes_s=0, request_body_gap_s=60), 1000) == 60


def test_the_time_in_which_we_do_not_read_does_not_count() -> None:
    pace = BodyPace(0)
    pace.hold(5)
    pace.hold(7)
    pace.go_on(25)
    pace.go_on(26)
    assert pace.patience_s(LIMITS, 26) == 4


def test_the_time_before_the_body_was_asked_for_does_not_count() -> None:
    pace = BodyPace(0)
    assert not pace.begun
    pace.restart(30)
    assert pace.patience_s(LIMITS, 31) == 9
    pace.came(1)
    assert pace.begun


def test_a_client_is_stuck_when_it_took_nothing_for_the_whole_gap() -> None:
    pace = AnswerPace(1000, 0)
    assert not pace.stuck(1000, 60, 59)
    assert not pace.stuck(1001, 60, 61)
    assert not pace.stuck(1001, 60, 120)
    assert pace.stuck(1001, 60, 121)
