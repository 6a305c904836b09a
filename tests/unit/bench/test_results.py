"""Ratios, their spread, and verdicts over targets."""

from __future__ import annotations

import json

import pytest

from bench.results import Figure, Gap, Results, Spread
from bench.targets import ALL, Target, Verdict, verdicts
from bench.workloads import ALL as WORKLOADS


def test_a_ratio_is_taken_round_by_round(results: Results) -> None:
    ratio = results.ratio("get", "ingressd", "get", "nginx")
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((1.5, 1.4, 1.6))


def test_a_round_that_one_side_lacks_is_in_no_ratio(results: Results) -> None:
    results.measurements = [one for one in results.measurements if (one.peer, one.round) != ("nginx", 3)]
    ratio = results.ratio("get", "ingressd", "get", "nginx")
    assert ratio is not None
    assert (ratio.low, ratio.high) == pytest.approx((1.5, 1.6))


def test_there_is_no_ratio_to_what_was_not_measured(results: Results) -> None:
    assert results.ratio("get", "ingressd", "get", "caddy") is None
    assert results.spread("get", "caddy", "cpu_us") is None


def test_the_reason_of_a_gap_is_found_for_a_workload_and_for_a_whole_peer(results: Results) -> None:
    results.gaps = [Gap("get", "envoy", "did not start"), Gap("", "caddy", "caddy is not installed")]
    assert results.gap("get", "envoy") == "did not start"
    assert results.gap("get", "caddy") == "caddy is not installed"
    assert results.gap("body-1m", "envoy") == "not measured"


def test_a_figure_with_several_values_a_round_spreads_over_all(results: Results) -> None:
    results.figures = [Figure("edit", "nginx", 1, value, "ms") for value in (40.0, 60.0, 50.0)]
    assert results.figure("edit", "nginx") == Spread(50.0, 40.0, 60.0)


def test_the_json_value_has_everything_and_the_ratios(results: Results) -> None:
    value = json.loads(json.dumps(results.to_json("ingressd", ["ingressd", "nginx"], ["get", "get-log"])))
    assert len(value["measurements"]) == 9
    assert [(one["workload"], one["peer"]) for one in value["ratios"]] == [("get", "nginx")]


def test_what_was_written_as_json_can_be_read_again(results: Results) -> None:
    results.gaps.append(Gap("get", "envoy", "did not start"))
    results.figures.append(Figure("edit", "nginx", 1, 40.0, "ms"))
    assert Results.from_json(json.loads(json.dumps(results.to_json("ingressd", [], [])))) == results


def test_json_of_another_format_is_refused(results: Results) -> None:
    with pytest.raises(ValueError, match="its format is 0, not 1"):
        Results.from_json({**results.to_json("ingressd", [], []), "format": 0})


def test_what_an_early_end_left_out_is_said_and_how_many_rounds_there_were(results: Results) -> None:
    results.gaps.append(Gap("body-1m", "nginx", "did not start"))
    results.figures.append(Figure("start-one-file (20,000 routes): ready", "nginx", 1, 4.0, "s"))
    results.note_unreached(["get", "body-1m", "start-one-file"], ["ingressd", "nginx"], 3, "interrupted")
    assert [(gap.workload, gap.peer, gap.reason) for gap in results.gaps] == [
        ("body-1m", "nginx", "did not start"),
        ("body-1m", "ingressd", "interrupted"),
        ("start-one-file", "ingressd", "interrupted"),
        ("start-one-file", "nginx", "1 of 3 rounds: interrupted"),
    ]


def test_a_target_is_met_by_the_median(results: Results) -> None:
    words = {verdict.target.title: verdict.word for verdict in verdicts(results, "ingressd")}
    assert words["get <= 1.6 x nginx"] == "met"
    assert words["get-log <= 1.25 x own get"] == "MISSED"
    assert words["get <= 0.8 x envoy"] == "not measured"


def test_a_ratio_on_the_limit_meets_the_target() -> None:
    target = Target("get", "get", "nginx", 1.6)
    assert Verdict(target, Spread(1.6, 1.0, 2.0)).word == "met"
    assert Verdict(target, Spread(1.61, 1.0, 2.0)).word == "MISSED"


def test_each_target_is_about_workloads_that_exist() -> None:
    names = {workload.name for workload in WORKLOADS}
    assert {name for target in ALL for name in (target.workload, target.to_workload)} <= names
