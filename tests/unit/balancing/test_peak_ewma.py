"""The average rises at once and sinks slowly, and the quicker of two targets is picked."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ingressd.balancing.peak_ewma import DECAY_S, observed
from tests.unit.balancing.targets import ONE, Target, scheduler, targets

SECONDS = st.floats(0.0001, 100)


@given(SECONDS, SECONDS, SECONDS)
def test_the_average_is_between_what_was_and_what_is_and_never_below_a_peak(old: float, age: float, new: float) -> None:
    average = observed(old, age, new)
    if new >= old:
        assert average == new
    else:
        assert math.isclose(average, old * math.exp(-age / 10) + new * (1 - math.exp(-age / 10)), rel_tol=1e-9)


def test_what_was_measured_fades_to_a_third_in_the_time_of_decay() -> None:
    assert math.isclose(observed(1.0, DECAY_S, 0.0), 1 / math.e)


def _measured(*latencies: float) -> dict[Target, int]:
    served = targets(*[1] * len(latencies))
    for target, latency in zip(served, latencies, strict=True):
        target.latency_s, target.latency_at = latency, ONE.began
    return served


def test_the_quicker_one_is_picked() -> None:
    served = _measured(0.010, 0.011)
    made = scheduler("ewma", served)
    assert {made.pick((), ONE) for _ in range(50)} == {next(iter(served))}


def test_requests_in_flight_count_as_so_many_times_the_latency() -> None:
    served = _measured(0.010, 0.035)
    quick, slow = served
    made = scheduler("ewma", served)
    quick.active = 2
    assert made.pick((), ONE) is quick, "30 ms are less than 35"
    quick.active = 3
    assert made.pick((), ONE) is slow, "40 ms are more than 35"


def test_a_weight_divides_the_load() -> None:
    served = _measured(0.010, 0.010)
    light, heavy = served
    heavy.active = 2
    made = scheduler("ewma", {light: 1, heavy: 4})
    assert made.pick((), ONE) is heavy


def test_a_target_that_was_slow_is_tried_again_some_day() -> None:
    served = _measured(0.010, 5.0)
    quick, slow = served
    made = scheduler("ewma", served)
    assert {made.pick((), ONE) for _ in range(50)} == {quick}
    slow.latency_at -= 100
    assert made.pick((), ONE) is slow


def test_a_new_target_is_tried_out_by_one_request() -> None:
    served = _measured(0.010, 0.0)
    known, new = served
    new.latency_at = 0.0
    made = scheduler("ewma", served)
    assert made.pick((), ONE) is new
    new.active = 1
    assert {made.pick((), ONE) for _ in range(50)} == {known}


def test_an_answer_that_came_after_the_request_began_is_no_trouble() -> None:
    served = _measured(0.010, 0.020)
    for target in served:
        target.latency_at = ONE.began + 1
    assert scheduler("ewma", served).pick((), ONE) is next(iter(served))


def test_nobody_is_left_out_for_ever_while_all_are_equal() -> None:
    served = _measured(0.01, 0.01, 0.01)
    made = scheduler("ewma", served)
    assert len(Counter(made.pick((), ONE) for _ in range(100))) == 3
