"""Lines of a running program, from rows that service_report makes. test_services.py has those of manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ingressd.cli.console import console
from ingressd.cli.service_table import live_table
from ingressd.compile.port_faults import PortProblem
from ingressd.process.service_report import service_report
from ingressd.table.health import targets_of
from tests.unit.compile.manifests import compiled, service
from tests.unit.observe.pools import endpoint, pool

ANNOTATIONS = {"ingressd.dev/health-check": "tcp", "ingressd.dev/scheduler": "wrr"}
SLICES = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "ports": [{"port": 80}],
    "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
}


@dataclass
class Worker:
    """What a worker sends."""

    upstreams: Sequence[Mapping[str, Any]]


def _lines(capsys: pytest.CaptureFixture[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    console().print(live_table(rows))
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_each_endpoint_is_a_line_with_what_workers_count(capsys: pytest.CaptureFixture[str]) -> None:
    compilation = compiled(service("web", type="NodePort", annotations=ANNOTATIONS), SLICES)
    table = compilation.snapshot.pools["default/web:80"]
    assert table.check is not None
    known = {"detail": "connected", "streak": 0, "took_ms": 1.0, "checked_at": 1.0}
    well = endpoint("10.0.0.1:80", active=1, picks=40, failures=2, latency_ms=12.5)
    ejected = endpoint("10.0.0.2:80", ejected_s=28.5, ejections=3)
    workers = [
        Worker([pool("default/web:80", well, ejected)]),
        Worker([pool("default/web:80", well, endpoint("10.0.0.2:80"))]),
    ]
    rows = service_report(compilation, workers, dict.fromkeys(targets_of(table.endpoints, table.check), known))
    title, first, second = _lines(capsys, rows)
    assert title == (
        "SERVICE TYPE ADDRESSES MODE SCHEDULER ENDPOINT SOURCE STATE WEIGHT"
        " ACTIVE PICKS FAILURES EJECTIONS EJECTED BY LATENCY CHECK"
    )
    assert first.endswith("ipvs wrr 10.0.0.1:80 slices ready 1 2 80 4 0 12.5 ms connected")
    assert second.endswith("10.0.0.2:80 slices ejected 1 0 0 0 3 1 of 2 for 28.5 s connected")


def test_a_panic_is_said_of_every_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    compilation = compiled(service("web", type="NodePort"), SLICES)
    rows = service_report(compilation, [Worker([pool("default/web:80", panic=True)])], {})
    assert [line.count("ready (panic: all are used)") for line in _lines(capsys, rows)] == [0, 1, 1]


def test_a_service_without_endpoints_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    web = service("web", type="NodePort")
    rows = service_report(compiled(web, service("idle"), discovery="off"), [], {})
    _, idle, none = _lines(capsys, rows)
    assert idle == "default/idle ClusterIP"
    assert none.endswith("none: it has no EndpointSlices, and discovery is off")


def test_a_port_that_could_not_be_opened_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    ports = [{"port": 53, "protocol": "UDP", "nodePort": 30053}]
    compilation = compiled(service("web", type="NodePort", ports=ports))
    problems = dict.fromkeys(compilation.streams.listeners, PortProblem(98, ""))
    (row,) = service_report(compilation.with_problems(problems), [], {})
    assert "0.0.0.0:30053/udp (nodePort, not opened)" in _lines(capsys, [row])[1]
