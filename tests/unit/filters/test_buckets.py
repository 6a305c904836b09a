"""Shared buckets against a token bucket written the plain way, with one worker, with several, and with processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.buckets import SETS, Buckets, Shared, private, shared_with, size_bytes


class PlainBucket:
    """What a token bucket is: tokens that come back with time, and never more than it holds."""

    def __init__(self, burst_s: float, now: float) -> None:
        self.burst_s = self.level_s = burst_s
        self.at = now

    def take(self, cost_s: float, now: float) -> bool:
        self.level_s = min(self.burst_s, self.level_s + now - self.at)
        self.at = now
        if self.level_s + 1e-6 < cost_s:
            return False
        self.level_s -= cost_s
        return True


def together(columns: int) -> list[Buckets]:
    memory = bytearray(size_bytes(columns))
    return [Buckets(Shared(memory, columns, column)) for column in range(columns)]


STEPS = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5)), max_size=60)


@given(STEPS, st.integers(1, 5), st.sampled_from([0.1, 1.0, 60.0]))
def test_workers_together_are_one_token_bucket(steps: Sequence[tuple[int, float]], holds: int, cost_s: float) -> None:
    workers = together(4)
    now = 1000.0
    plain = PlainBucket(holds * cost_s, now)
    for worker, pause_s in steps:
        now += pause_s
        wait_s = workers[worker].take("client", cost_s, holds * cost_s, now)
        assert (wait_s == 0.0) is plain.take(cost_s, now)


def test_the_wait_is_how_long_until_a_request_passes() -> None:
    (bucket,) = together(1)
    assert [bucket.take("a", 1.0, 2.0, 100.0) for _ in range(2)] == [0.0, 0.0]
    assert bucket.take("a", 1.0, 2.0, 100.25) == pytest.approx(0.75)
    assert bucket.take("a", 1.0, 2.0, 100.99) > 0
    assert bucket.take("a", 1.0, 2.0, 101.0) == 0.0


def test_clients_do_not_use_each_others() -> None:
    (bucket,) = together(1)
    assert bucket.take("a", 1.0, 1.0, 100.0) == 0.0
    assert bucket.take("b", 1.0, 1.0, 100.0) == 0.0
    assert bucket.take("a", 1.0, 1.0, 100.0) > 0


def test_what_is_given_back_can_be_taken_again() -> None:
    (bucket,) = together(1)
    for _ in range(5):
        assert bucket.take("a", 1.0, 1.0, 100.0) == 0.0
        bucket.give_back("a", 1.0, 100.0)


def test_what_is_open_is_counted_over_all_workers() -> None:
    one, two = together(2)
    assert one.enter("a", 2, 0.0)
    assert two.enter("a", 2, 0.0)
    assert not one.enter("a", 2, 0.0)
    assert one.enter("b", 2, 0.0)
    two.leave("a", 0.0)
    assert one.enter("a", 2, 0.0)


def test_a_worker_that_comes_anew_has_nothing_open_and_the_others_keep_theirs() -> None:
    memory = bytearray(size_bytes(2))
    one, two = (Buckets(Shared(memory, 2, column)) for column in range(2))
    assert one.enter("a", 2, 0.0)
    assert two.enter("a", 2, 0.0)
    again = Buckets(Shared(memory, 2, 1))
    assert again.enter("a", 2, 0.0)
    assert not again.enter("a", 2, 0.0)


def test_keys_for_which_there_is_no_place_take_those_of_keys_that_rest() -> None:
    bucket = Buckets(private())
    keys = 5 * SETS
    places = set()
    for number in range(keys):
        now = 100.0 + number * 2
        assert bucket.take(f"client {number}", 1.0, 1.0, now) == 0.0
        places.add(bucket._place(f"client {number}", now))
    assert SETS < len(places) < keys


def _hammer(descriptor: int, column: int, until: float, cost_s: float, burst_s: float, results: int) -> None:
    bucket = Buckets(shared_with(descriptor, 4, column))
    passed = tried = 0
    # However late it starts on a loaded machine, it tries what a full bucket holds.
    while (now := time.monotonic()) < until or tried < burst_s / cost_s:
        tried += 1
        if bucket.take("client", cost_s, burst_s, now) == 0.0:
            passed += 1
    os.write(results, f"{passed}\n".encode())
    os._exit(0)


def test_processes_that_hammer_one_bucket_never_get_more_than_it_holds() -> None:
    descriptor = os.memfd_create("buckets")
    shared_with(descriptor, 4, 0)
    reading, writing = os.pipe()
    began = time.monotonic()
    cost_s, burst_s, length_s = 0.002, 0.2, 0.6
    context = multiprocessing.get_context("fork")
    arguments = (began + length_s, cost_s, burst_s, writing)
    processes = [context.Process(target=_hammer, args=(descriptor, column, *arguments)) for column in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    took_s = time.monotonic() - began
    os.close(writing)
    with os.fdopen(reading) as results:
        passed = sum(map(int, results.read().split()))
    os.close(descriptor)
    assert passed <= (burst_s + took_s) / cost_s + 1
    assert passed >= int(burst_s / cost_s)
