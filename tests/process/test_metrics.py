"""What /metrics says of known traffic: sums over all workers, those that were killed included."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from websockets.sync.client import connect

from ingressd.observe.stats import BOUNDS_S
from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.certificates import issue
from tests.support.metrics import families, sample
from tests.support.program import PATIENCE_S, Program, running, until
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("metrics")

ROUTE = "default/site a.localhost / Prefix"


class World:
    """A program with traffic, and an application."""

    def __init__(self, program: Program, site: Site, behind: App) -> None:
        self.program = program
        self.site = site
        self.app = behind

    def requests(self, **labels: str) -> float:
        return sample(self.program, "ingressd_requests_total", **labels)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    site = Site(folder / "site")
    with app("the app") as behind:
        site.route("a.localhost", behind)
        site.write(
            "empty.yaml", manifests.ingress("empty", "empty.localhost") + "---\n" + manifests.service("empty", 1)
        )
        with running(folder / "log", str(site.folder), "--https-port=0", "--access-log=off") as program:
            yield World(program, site, behind)


def test_requests_are_counted_by_route_status_and_reason(world: World) -> None:
    def counted() -> list[float]:
        return [
            world.requests(route=ROUTE, status="200", reason=""),
            world.requests(route="", status="404", reason="no_route", host=""),
            world.requests(service="empty", status="503", reason="no_endpoints"),
            sample(world.program, "ingressd_request_duration_seconds_count", route=ROUTE),
            sample(world.program, "ingressd_upstream_duration_seconds_count", route=ROUTE),
            sample(world.program, "ingressd_request_duration_seconds_count", service="empty"),
            sample(world.program, "ingressd_upstream_duration_seconds_count", service="empty"),
            sample(world.program, "ingressd_endpoint_picks_total", endpoint=f"127.0.0.1:{world.app.port}"),
            sample(world.program, "ingressd_connections_total"),
        ]

    before = counted()
    for _ in range(40):
        assert world.program.get()[0] == 200
    for number in range(7):
        # A host that nobody routes is no label: anybody could invent them.
        assert world.program.get(host=f"nobody-{number}.localhost")[0] == 404
    for _ in range(5):
        assert world.program.get(host="empty.localhost")[0] == 503
    grown = [after - earlier for earlier, after in zip(before, counted(), strict=True)]
    assert grown == [40, 7, 5, 40, 40, 5, 0, 40, 52]
    assert "nobody-" not in world.program.admin("/metrics")[1]


def test_bytes_of_bodies_are_counted(world: World) -> None:
    names = ("ingressd_request_body_bytes_total", "ingressd_response_body_bytes_total")
    before = [sample(world.program, name) for name in names]
    with socket.create_connection(("127.0.0.1", world.program.port("http")), timeout=PATIENCE_S) as client:
        client.sendall(b"PUT /name HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
        answer = client.recv(65536)
        while not answer.endswith(b"the app"):
            answer += client.recv(65536)
    grown = [sample(world.program, name) - earlier for name, earlier in zip(names, before, strict=True)]
    assert grown == [1000, len("the app")]


def test_buckets_add_up(world: World) -> None:
    for _ in range(10):
        world.program.get()
    (family,) = [
        family for name, family in families(world.program).items() if name == "ingressd_request_duration_seconds"
    ]
    of_route = [one for one in family.samples if one.labels["route"] == ROUTE]
    buckets = [(one.labels["le"], one.value) for one in of_route if one.name.endswith("_bucket")]
    assert [float(bound) for bound, _ in buckets] == [*BOUNDS_S, float("inf")]
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    (count,) = [one.value for one in of_route if one.name.endswith("_count")]
    (seconds,) = [one.value for one in of_route if one.name.endswith("_sum")]
    assert count == counts[-1] == world.requests(route=ROUTE)
    assert 0 < seconds < count * PATIENCE_S


def test_what_a_killed_worker_had_counted_is_not_lost(world: World) -> None:
    program = world.program
    before = world.requests(route=ROUTE)
    for _ in range(30):
        program.get()
    assert world.requests(route=ROUTE) == before + 30
    for killed in program.pids()["workers"]:
        os.kill(killed, signal.SIGKILL)
        until(lambda killed=killed: killed not in (now := program.pids()["workers"]) and len(now) == 2, "a replacement")
        until(lambda: program.api("status")["workers"] == 2, "two serving workers")
        assert world.requests(route=ROUTE) == before + 30
    for _ in range(30):
        assert program.get() == (200, "the app")
    assert world.requests(route=ROUTE) == before + 60
    assert sample(program, "ingressd_workers") == 2


def test_open_tunnels_and_connections_are_gauges(world: World) -> None:
    port = world.program.port("http")
    tunnels = sample(world.program, "ingressd_tunnels_open")
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    with connect(f"ws://a.localhost:{port}/ws", sock=sock, proxy=None) as websocket:
        websocket.send("hello")
        assert websocket.recv(PATIENCE_S) == "hello"
        assert sample(world.program, "ingressd_tunnels_open") == tunnels + 1
        assert sample(world.program, "ingressd_connections_open", scheme="http") >= 1
    until(lambda: sample(world.program, "ingressd_tunnels_open") == tunnels, "the tunnel to be gone")


def test_reloads_faults_and_certificates_are_told(world: World) -> None:
    program = world.program
    before = [sample(program, f"ingressd_{name}") for name in ("generation", "reloads_total")]
    errors = sample(program, "ingressd_faults", severity="error")
    certificate = issue("tls.localhost")
    leaf = x509.load_pem_x509_certificate(certificate.chain_pem)
    text = manifests.routed("tls", "tls.localhost", world.app.port, secret="pair")
    path = world.site.write("tls.yaml", text + "---\n" + manifests.secret("pair", certificate))
    program.until_served(int(before[0]) + 1)
    expiry = sample(program, "ingressd_certificate_not_after_seconds", origin="default/pair", name="tls.localhost")
    assert expiry == leaf.not_valid_after_utc.timestamp()
    manifests.replace(path, text.replace("pathType: Prefix", "pathType: Prefixed"))
    program.until_served(int(before[0]) + 2)
    assert sample(program, "ingressd_faults", severity="error") == errors + 1
    path.unlink()
    program.until_served(int(before[0]) + 3)
    assert sample(program, "ingressd_faults", severity="error") == errors
    after = [sample(program, f"ingressd_{name}") for name in ("generation", "reloads_total")]
    assert [now - earlier for now, earlier in zip(after, before, strict=True)] == [3, 3]
    assert sample(program, "ingressd_reload_last_success_timestamp_seconds") > leaf.not_valid_before_utc.timestamp()
    assert sample(program, "ingressd_reload_last_duration_seconds") > 0


def test_every_family_is_described_and_named_as_prometheus_wants_it(world: World) -> None:
    for name, family in families(world.program).items():
        assert name.startswith("ingressd_")
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        if family.type == "counter":
            assert all(one.name == f"{name}_total" for one in family.samples)


def test_a_request_to_an_endpoint_that_refuses_is_502_and_counted_as_a_failure(world: World, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    path = world.site.write("refused.yaml", manifests.routed("refused", "refused.localhost", port))
    until(lambda: world.program.get(host="refused.localhost")[0] == 502, "502")
    assert world.requests(service="refused", status="502", reason="connect_refused") == 1
    assert sample(world.program, "ingressd_endpoint_failures_total", endpoint=f"127.0.0.1:{port}") == 1
    path.unlink()
    until(lambda: world.program.get(host="refused.localhost")[0] == 404, "the route to end")
    # Its requests stay counted; the endpoint is no longer there.
    assert world.requests(service="refused", status="502", reason="connect_refused") >= 1
    assert sample(world.program, "ingressd_endpoint_failures_total", endpoint=f"127.0.0.1:{port}") == 0
