"""Backoff, and the words for how a child ended."""

from __future__ import annotations

from ingressd.process.child import Backoff, Child, how_it_ended


def test_short_lives_double_the_delay_up_to_the_limit() -> None:
    backoff = Backoff()
    assert [backoff.after(1.0) for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_minute_of_health_forgives() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0.0)
    assert backoff.after(60.0) == 0.1
    assert backoff.after(0.0) == 0.2


def test_a_restart_is_planned_from_the_length_of_the_life() -> None:
    child = Child("worker", 2)
    child.started_at = 100.0
    assert child.plan_restart(now=100.5) == 0.1
    assert child.restart_at == 100.6
    assert child.name == "worker 2"


def test_ends_are_told_in_words() -> None:
    assert how_it_ended(3) == "exit code 3"
    assert how_it_ended(-9) == "killed by SIGKILL"
    assert how_it_ended(-250) == "killed by signal 250"
