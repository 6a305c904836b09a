"""The table and the chart."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from bench.chart import chart
from bench.report import report, table
from bench.results import Gap, Results
from bench.targets import verdicts
from bench.workloads import ALL, Workload

SVG = "{http://www.w3.org/2000/svg}"
PEERS = ["ingressd", "nginx", "caddy"]
GET = [workload for workload in ALL if workload.name == "get"]


def text_of(results: Results, workloads: list[Workload] = GET) -> str:
    return report(results, "ingressd", PEERS, workloads, verdicts(results, "ingressd"))


def test_a_row_has_the_cost_its_spread_and_the_ratio(results: Results) -> None:
    row = next(line for line in text_of(results).splitlines() if line.split()[:1] == ["nginx"])
    assert row.split()[1:3] == ["20.0", "20.0..25.0"]
    assert "ingressd = 1.50 (1.40..1.60) x" in row
    assert row.endswith("3 read")


def test_a_missing_peer_has_a_row_that_says_why(results: Results) -> None:
    results.gaps.append(Gap("", "caddy", "caddy is not installed"))
    text = text_of(results)
    row = next(line for line in text.splitlines() if line.split()[:1] == ["caddy"])
    assert "caddy is not installed" in row
    assert "everything" in text.partition("not measured\n")[2]


def test_each_target_is_printed_with_its_verdict(results: Results) -> None:
    lines = text_of(results).splitlines()
    met = next(line for line in lines if line.strip().startswith("get <= 1.6 x nginx"))
    assert met.split()[-2:] == ["(1.40..1.60)", "met"]
    assert sum("<=" in line for line in lines) == len(verdicts(results, "ingressd"))


def test_numbers_of_a_table_stand_to_the_right() -> None:
    assert table([("a", "1.5", "x"), ("bb", "10.5", "y")]) == ["  a    1.5  x", "  bb  10.5  y"]


def test_the_chart_is_well_formed_and_has_a_bar_for_each_measured_peer(results: Results) -> None:
    root = ET.fromstring(chart(results, "ingressd", PEERS, ALL))
    texts = [node.text for node in root.iter(f"{SVG}text")]
    assert root.tag == f"{SVG}svg"
    assert "small GET, keep-alive" in texts
    assert "32.0" in texts
    assert "not measured" in texts
    assert len(list(root.iter(f"{SVG}rect"))) == 1 + 2
    assert len(list(root.iter(f"{SVG}line"))) == 2


def test_a_bar_far_longer_than_our_own_is_cut_and_keeps_its_figure(results: Results) -> None:
    results.measurements = [
        one if one.peer == "ingressd" else type(one)(**{**_fields(one), "cpu_us": 4926.0})
        for one in results.measurements
    ]
    root = ET.fromstring(chart(results, "ingressd", PEERS, ALL))
    texts = [node.text or "" for node in root.iter(f"{SVG}text")]
    assert any(text.endswith("4,926") and text != "4,926" for text in texts)
    widths = [float(node.attrib["width"]) for node in root.iter(f"{SVG}rect")][1:]
    assert max(widths) <= 8.01 * min(widths)


def test_of_nothing_there_is_no_chart() -> None:
    assert chart(Results(), "ingressd", PEERS, ALL) == ""


def test_a_pair_is_said_for_each_proxy_that_was_measured_on_both_sides(results: Results) -> None:
    rows = text_of(results).partition("\npairs ")[2].splitlines()
    assert rows[1].split()[:3] == ["get-log", "/", "get"]
    assert rows[1].split()[3:] == ["ingressd", "1.50", "3", "rounds"]
    assert rows[2] == ""


def _fields(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}  # type: ignore[attr-defined]
