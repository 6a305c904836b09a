"""The order within a round, and what becomes of the turns of a workload."""

from __future__ import annotations

import pytest

from bench.clients.sample import Sample
from bench.results import Results
from bench.series import ALL as SERIES
from bench.series import GROUPS, PAIRS, Series
from bench.targets import ALL as TARGETS
from bench.turns import Turn, measurement, order, turns_of
from bench.workloads import ALL, Workload

BY_NAME = {workload.name: workload for workload in ALL}


def workloads(*names: str) -> list[Workload]:
    return [BY_NAME[name] for name in names]


def names(round_: int, *names: str) -> list[str]:
    return [workload.name for workload in order(workloads(*names), round_)]


def turn(requests: int, used_s: float, p99_us: float = 1000.0, error_note: str = "") -> Turn:
    sample = Sample(requests, 1.0, len(error_note), 500.0, p99_us, 2000.0, error_note)
    return Turn(sample, used_s, 1.25, 50 * requests)


def test_what_is_compared_is_measured_there_and_back_and_every_second_round_from_the_other_end() -> None:
    assert names(1, "services-10", "services-50000") == [
        "services-10",
        "services-50000",
        "services-50000",
        "services-10",
    ]
    assert names(2, "services-10", "services-50000") == [
        "services-50000",
        "services-10",
        "services-10",
        "services-50000",
    ]


def test_what_is_compared_with_nothing_has_one_turn() -> None:
    assert names(1, "body-10k", "body-1m") == ["body-10k", "body-1m"]
    assert names(2, "body-10k", "body-1m") == ["body-1m", "body-10k"]


@pytest.mark.parametrize("round_", [1, 2])
def test_a_steady_drift_of_the_machine_is_in_no_ratio(round_: int) -> None:
    # Each turn costs a tenth more than the one before it; the true ratio of all is one.
    chosen = workloads("services-10", "services-1000", "services-50000")
    turns: dict[str, list[Turn]] = {}
    for number, workload in enumerate(order(chosen, round_)):
        turns.setdefault(workload.name, []).append(turn(1000, 1.0 + number / 10))
    results = Results()
    results.measurements = [measurement(one, "ingressd", round_, turns[one.name]) for one in chosen]
    ratio = results.ratio("services-50000", "ingressd", "services-10", "ingressd")
    assert ratio is not None
    assert ratio.median == pytest.approx(1.0)


def test_turns_become_one_measurement_by_their_sums() -> None:
    found = measurement(BY_NAME["get"], "nginx", 2, [turn(1000, 0.02, 1000.0), turn(3000, 0.10, 3000.0, "1 read")])
    assert (found.workload, found.peer, found.round, found.unit) == ("get", "nginx", 2, "request")
    assert (found.requests, found.seconds, found.requests_s) == (4000, 2.0, 2000.0)
    assert found.cpu_us == pytest.approx(30.0)
    assert found.busy == pytest.approx(0.12 / 2.5)
    assert (found.p50_us, found.p99_us) == (500.0, 2000.0)
    assert (found.errors, found.error_note) == (6, "1 read")
    assert found.rss_bytes == 150_000


@pytest.mark.parametrize(("less", "more"), PAIRS)
def test_both_sides_of_a_pair_run_at_the_same_time_and_take_turns(less: str, more: str) -> None:
    first, second = workloads(less, more)
    assert first.cluster == second.cluster
    assert second.only in (first.only, "ingressd")
    assert turns_of(first) == turns_of(second) == 2


def test_each_target_within_one_proxy_is_a_pair() -> None:
    own = {(target.to_workload, target.workload) for target in TARGETS if target.workload != target.to_workload}
    assert own <= set(PAIRS)


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.last)
def test_a_series_counts_what_its_workloads_serve(series: Series) -> None:
    for count, name in series.points:
        scenario = BY_NAME[name].scenario
        served = {"Services": scenario.services, "hosts": scenario.hosts, "paths": scenario.paths}
        assert served[series.axis] == count
        assert BY_NAME[name].unit == series.per


def test_groups_name_workloads_that_exist_and_growth_is_among_the_pairs() -> None:
    assert set(GROUPS["growth"]) <= set(GROUPS["pairs"]) <= set(BY_NAME)
