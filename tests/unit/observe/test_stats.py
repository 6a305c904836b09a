"""A worker's counters: what is counted, that series are bounded, and that exports add up."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ingressd.errors import Reason
from ingressd.observe import stats
from ingressd.observe.stats import BOUNDS_S, OTHER, UNROUTED, Labels, WorkerStats, add
from tests.support.edge import route
from tests.unit.observe.entries import CART, Ended, unreadable

Requests = dict[tuple[str | int, ...], int]

LABELS: Labels = (CART.host, CART.id, "default", "test", "app")


def _requests(export: Mapping[str, Any]) -> Requests:
    """Counts by labels, status and reason in one tuple."""
    return {(*labels, *answer): n for labels, answers in export["requests"].items() for answer, n in answers.items()}


def test_requests_are_counted_by_route_status_and_reason() -> None:
    counted = WorkerStats()
    for _ in range(2):
        counted.finished(Ended())
    counted.finished(Ended(status=502, reason=Reason.CONNECT_REFUSED))
    counted.finished(unreadable())
    assert _requests(counted.export()) == {
        (*LABELS, 200, ""): 2,
        (*LABELS, 502, "connect_refused"): 1,
        (*UNROUTED, 400, "bad_request"): 1,
    }


def test_two_that_count_the_same_route_do_not_count_for_each_other() -> None:
    one, other = WorkerStats(), WorkerStats()
    for counted in (one, other, one):
        counted.finished(Ended())
    assert _requests(one.export()) == {(*LABELS, 200, ""): 2}
    assert _requests(other.export()) == {(*LABELS, 200, ""): 1}


def test_a_client_cannot_make_a_series() -> None:
    counted = WorkerStats()
    for number in range(100):
        counted.finished(
            Ended(host=f"{number}.example.com", authority=f"{number}", method=f"M{number}", target=f"/{number}")
        )
    assert _requests(counted.export()) == {(*LABELS, 200, ""): 100}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.00101, 1), (0.06, 6), (60.0, 14), (60.1, 15), (1e9, 15)]
)
def test_a_duration_is_in_the_first_bucket_that_takes_it(seconds: float, bucket: int) -> None:
    counted = WorkerStats()
    counted.finished(Ended(duration_s=seconds, upstream_duration_s=None))
    total, *buckets = counted.export()["durations"][LABELS]
    assert total == seconds
    assert [index for index, count in enumerate(buckets) if count] == [bucket]
    assert len(buckets) == len(BOUNDS_S) + 1


def test_the_time_of_the_upstream_is_counted_where_there_was_one() -> None:
    counted = WorkerStats()
    counted.finished(Ended(upstream_duration_s=0.5))
    counted.finished(unreadable())
    export = counted.export()
    assert list(export["upstream_durations"]) == [LABELS]
    assert set(export["durations"]) == {LABELS, UNROUTED}


def test_bytes_add_up() -> None:
    counted = WorkerStats()
    counted.finished(Ended(bytes_in=3, bytes_out=5))
    counted.finished(Ended(bytes_in=10, bytes_out=20))
    export = counted.export()
    assert (export["bytes_in_total"], export["bytes_out_total"]) == (13, 25)


def test_the_numbers_that_others_keep_are_exported() -> None:
    counted = WorkerStats()
    counted.connections_total += 3
    counted.connections_open += 2
    counted.tunnels_open += 1
    counted.retries_total += 4
    counted.upstream_connects_total += 5
    counted.access_log_dropped_total = 6
    export = counted.export()
    assert {name: number for name, number in export.items() if number} == {
        "connections_total": 3,
        "connections_open": 2,
        "tunnels_open": 1,
        "retries_total": 4,
        "upstream_connects_total": 5,
        "access_log_dropped_total": 6,
    }


def test_a_reload_that_leaves_a_route_as_it_is_leaves_its_series() -> None:
    counted = WorkerStats()
    for again in (CART, replace(CART, line=9), CART):
        counted.finished(Ended(route=again))
    export = counted.export()
    assert _requests(export) == {(*LABELS, 200, ""): 3}
    assert sum(export["durations"][LABELS][1:]) == 3


def test_a_route_that_goes_to_another_service_has_another_series() -> None:
    counted = WorkerStats()
    moved = replace(CART, service="app-v2")
    for one in (CART, moved, CART):  # the last was in flight while the edit was applied
        counted.finished(Ended(route=one))
    assert _requests(counted.export()) == {(*LABELS, 200, ""): 2, (*LABELS[:4], "app-v2", 200, ""): 1}


def test_beyond_the_bound_requests_are_counted_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "SERIES", 3)
    counted = WorkerStats()
    for number in range(10):
        for _ in range(2):
            counted.finished(Ended(route=route(f"{number}.example.com")))
    counted.finished(Ended(route=route("0.example.com"), status=404))
    requests = _requests(counted.export())
    assert len(requests) == 5
    assert requests[(*OTHER, 200, "")] == 14
    assert requests[(*OTHER, 404, "")] == 1
    assert sum(requests.values()) == 21


def test_beyond_the_bound_times_are_those_of_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "TIMED_ROUTES", 2)
    counted = WorkerStats()
    for number in range(5):
        counted.finished(Ended(route=route(f"{number}.example.com"), duration_s=1.0))
    export = counted.export()
    assert len(export["requests"]) == 5
    assert len(export["durations"]) == len(export["upstream_durations"]) == 3
    assert sum(export["durations"][OTHER][1:]) == 3
    assert export["durations"][OTHER][0] == 3.0


def test_an_export_is_plain_and_a_copy() -> None:
    counted = WorkerStats()
    counted.finished(Ended(reason=Reason.CLIENT_ABORT))
    export = counted.export()
    pickled = pickle.dumps(export)
    assert b"ingressd" not in pickled
    counted.finished(Ended())
    assert export == pickle.loads(pickled)


def test_exports_of_several_workers_add_up() -> None:
    one, other = WorkerStats(), WorkerStats()
    one.finished(Ended(duration_s=0.5))
    one.finished(unreadable())
    other.finished(Ended(duration_s=2.0))
    other.retries_total = 2
    total = add([one.export(), other.export()])
    assert _requests(total) == {(*LABELS, 200, ""): 2, (*UNROUTED, 400, "bad_request"): 1}
    assert total["durations"][LABELS][0] == 2.5
    assert sum(total["durations"][LABELS][1:]) == 2
    assert total["retries_total"] == 2
    assert _requests(one.export())[(*LABELS, 200, "")] == 1
    assert add([]) == WorkerStats().export()
