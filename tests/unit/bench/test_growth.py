"""The chart of more Services, hosts and paths."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench.growth import growth, points
from bench.results import Results
from bench.series import ALL
from tests.unit.bench.conftest import measurement

SVG = "{http://www.w3.org/2000/svg}"
COSTS_US = {
    "services-10": (30.0, 32.0, 40.0),
    "services-1000": (30.6, 32.0, 42.0),
    "services-50000": (30.0, 36.8, 44.0),
}


@pytest.fixture
def measured() -> Results:
    """Three rounds beside Services at layer 7, and one lone point at layer 4."""
    found = Results(settings={"rounds": 3})
    for name, costs_us in COSTS_US.items():
        found.measurements += [measurement(name, "ingressd", number, us) for number, us in enumerate(costs_us, 1)]
    found.measurements.append(measurement("l4-services-10", "ingressd", 1, 120.0))
    return found


def texts(drawing: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(drawing).iter(f"{SVG}text")]


def test_a_point_is_a_ratio_taken_round_by_round(measured: Results) -> None:
    largest = points(measured, "ingressd", ALL[0])[-1]
    assert largest.count == 50_000
    assert largest.cpu_us.median == 36.8
    assert (largest.ratio.low, largest.ratio.median, largest.ratio.high) == pytest.approx((1.0, 1.1, 1.15))


def test_the_axes_say_what_they_count_and_each_point_its_ratio_and_its_cost(measured: Results) -> None:
    said = texts(growth(measured, "ingressd"))
    assert "CPU a request, times that at 10 Services" in said
    assert "number of Services (logarithmic)" in said
    assert {"10", "1,000", "50,000"} <= set(said)
    assert {"1.00 x", "1.02 x", "1.10 x", "32.0 µs", "36.8 µs"} <= set(said)
    assert "target: at most 1.05 x" in said


def test_a_panel_has_a_line_through_its_points_and_no_panel_has_one_point_only(measured: Results) -> None:
    root = ET.fromstring(growth(measured, "ingressd"))
    assert len(list(root.iter(f"{SVG}circle"))) == len(COSTS_US)
    assert not any("Layer 4" in said for said in texts(growth(measured, "ingressd")))


def test_a_cost_that_grows_stays_within_its_panel(measured: Results) -> None:
    measured.measurements += [measurement("services-50000", "ingressd", number, 900.0) for number in (1, 2, 3)]
    root = ET.fromstring(growth(measured, "ingressd"))
    heights = [float(node.attrib["cy"]) for node in root.iter(f"{SVG}circle")]
    assert 0 < min(heights) < max(heights) < float(root.attrib["height"])
    assert all(float(node.attrib["y2"]) > 76 for node in root.iter(f"{SVG}line"))


def test_of_nothing_there_is_no_growth() -> None:
    assert growth(Results(), "ingressd") == ""
