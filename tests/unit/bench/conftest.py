"""A place for a proxy that is configured and never started, and results that were never measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.certificate import make_certificate
from bench.peers.base import Place
from bench.results import Measurement, Results
from bench.upstream import Upstream


@pytest.fixture
def place(tmp_path: Path) -> Place:
    certificate, key = make_certificate(tmp_path)
    folder = tmp_path / "proxy"
    folder.mkdir()
    return Place(folder, Upstream(1001, 1002), certificate, key, (0,), 10.0)


def measurement(workload: str, peer: str, round_: int, cpu_us: float, errors: int = 0) -> Measurement:
    return Measurement(
        workload=workload,
        peer=peer,
        round=round_,
        unit="request",
        requests=1000,
        seconds=1.0,
        cpu_us=cpu_us,
        requests_s=1000.0,
        busy=0.9,
        p50_us=1000.0,
        p99_us=2000.0,
        p999_us=3000.0,
        rss_bytes=50 * 2**20,
        errors=errors,
        error_note="3 read" if errors else "",
    )


@pytest.fixture
def results() -> Results:
    """Three rounds of two workloads: ingressd costs 1.5, 1.6 and 1.4 times what nginx does."""
    found = Results(settings={"rounds": 3}, versions={"ingressd": "0.1.0", "nginx": "1.22.1"})
    for round_, own_us, nginx_us in ((1, 30.0, 20.0), (2, 32.0, 20.0), (3, 35.0, 25.0)):
        found.measurements.append(measurement("get", "ingressd", round_, own_us))
        found.measurements.append(measurement("get", "nginx", round_, nginx_us, errors=3 if round_ == 2 else 0))
        found.measurements.append(measurement("get-log", "ingressd", round_, own_us * 1.5))
    return found
