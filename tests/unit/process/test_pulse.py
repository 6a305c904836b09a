"""Pulse: who is asked, who owes an answer for too long, and when nobody can be blamed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ingressd.process.channel import Channel
from ingressd.process.child import Child
from ingressd.process.pulse import BEATS, LATE_S, LONGEST_BEAT_S, Pulse

TIMEOUT_S = 10.0
BEAT_S = TIMEOUT_S / BEATS


class Pair:
    """A child that runs, and the other end of its channel."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.there = Channel(theirs)
        self.child = Child("worker")
        self.child.channel = Channel(ours)
        self.child.answers = True
        self.child.heard("ready")

    def heard(self) -> list[str]:
        return [one.message["type"] for one in self.there.receive()]

    def close(self) -> None:
        self.there.close()
        assert self.child.channel is not None
        self.child.channel.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def beats(pulse: Pulse, pair: Pair, start: float, until: float) -> list[float]:
    """Beat on time from `start` to `until`; the moments at which the child was found to hang."""
    found = []
    now = start
    while now <= until:
        if pulse.beat([pair.child], now):
            found.append(now)
        assert pulse.next_at is not None
        now = pulse.next_at
    return found


def test_a_child_that_does_not_answer_in_time_hangs(pair: Pair) -> None:
    assert beats(Pulse(TIMEOUT_S), pair, 100.0, 119.0) == [110.0]


def test_it_is_asked_once_until_it_answers(pair: Pair) -> None:
    pulse = Pulse(TIMEOUT_S)
    beats(pulse, pair, 100.0, 108.0)
    assert pair.heard() == ["ping"]
    pair.child.heard("pong")
    beats(pulse, pair, 110.0, 119.0)
    assert pair.heard() == ["ping"]


def test_a_child_that_answers_lives(pair: Pair) -> None:
    pulse = Pulse(TIMEOUT_S)
    for beat in range(50):
        assert pulse.beat([pair.child], 100.0 + beat * BEAT_S) == []
        assert pair.heard() == ["ping"]
        pair.child.heard("pong")


def test_nothing_happens_between_two_beats(pair: Pair) -> None:
    pulse = Pulse(TIMEOUT_S)
    pulse.beat([pair.child], 100.0)
    pair.child.heard("pong")
    pair.heard()
    assert pulse.beat([pair.child], 100.0 + BEAT_S / 2) == []
    assert pair.heard() == []
    assert pulse.next_at == 100.0 + BEAT_S


def test_a_child_that_starts_is_not_asked(pair: Pair) -> None:
    pair.child.ready = False
    assert beats(Pulse(TIMEOUT_S), pair, 100.0, 300.0) == []
    assert pair.heard() == []


def test_a_supervisor_that_slept_blames_nobody(pair: Pair) -> None:
    pulse = Pulse(TIMEOUT_S)
    beats(pulse, pair, 100.0, 106.0)
    woken = 4000.0
    # The container was frozen for an hour, the child with it; from now on it has its whole time again.
    assert beats(pulse, pair, woken, woken + TIMEOUT_S - BEAT_S) == []
    assert pulse.beat([pair.child], woken + TIMEOUT_S) == [pair.child]


def test_a_supervisor_that_is_a_little_late_still_counts(pair: Pair) -> None:
    pulse = Pulse(TIMEOUT_S)
    beats(pulse, pair, 100.0, 109.0)
    assert pulse.next_at == 110.0
    assert pulse.beat([pair.child], 110.0 + LATE_S / 2) == [pair.child]


def test_a_child_of_an_earlier_version_is_blamed_only_once_it_has_answered(pair: Pair) -> None:
    pair.child.answers = False
    pulse = Pulse(TIMEOUT_S)
    assert beats(pulse, pair, 100.0, 300.0) == []
    assert pair.heard() == ["ping"]
    pair.child.heard("pong")
    assert beats(pulse, pair, 302.0, 313.0) == [312.0]


def test_without_a_timeout_nobody_is_asked(pair: Pair) -> None:
    pulse = Pulse(0.0)
    assert pulse.beat([pair.child], 100.0) == []
    assert pulse.next_at is None
    assert pair.heard() == []


def test_a_long_time_to_answer_does_not_make_the_questions_rare(pair: Pair) -> None:
    pulse = Pulse(3600.0)
    pulse.beat([pair.child], 100.0)
    assert pulse.next_at == 100.0 + LONGEST_BEAT_S


def test_one_that_was_named_is_named_again_only_after_its_time(pair: Pair) -> None:
    assert beats(Pulse(TIMEOUT_S), pair, 100.0, 121.0) == [110.0, 120.0]
