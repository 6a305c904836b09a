"""Services as a running program shows them: by its API, by `ingressd services --live` and by its metrics."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.metrics import sample
from tests.support.program import PATIENCE_S, ROOT, Program, running, until
from tests.support.site import Site
from tests.support.stream_edge import free_port

pytestmark = pytest.mark.xdist_group("services")

HOST = "fleet.localhost"
ANNOTATIONS = {
    "ingressd.dev/health-check": "http:/healthz",
    "ingressd.dev/health-interval": "100ms",
    "ingressd.dev/outlier-detection": "consecutive-failures=2",
    "ingressd.dev/panic-threshold": "0",
    "ingressd.dev/max-requests": "100",
}
REQUESTS = 20


class World:
    """A Service of which one endpoint serves, and nobody listens at another one."""

    def __init__(self, program: Program, behind: App, gone: int) -> None:
        self.program = program
        self.up = f"127.0.0.1:{behind.port}"
        self.down = f"127.0.0.1:{gone}"

    def fleet(self) -> dict[str, Any]:
        (fleet,) = (each for each in self.program.api("services") if each["name"] == "fleet")
        return fleet

    def endpoints(self) -> dict[str, Any]:
        (pool,) = self.fleet()["pools"]
        return {each["endpoint"]: each for each in pool["endpoints"]}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`ingressd services --live` asks this program."""
        url = f"http://127.0.0.1:{self.program.port('admin')}"
        return subprocess.run(
            [sys.executable, "-m", "ingressd", "services", "--live", url, *arguments],
            cwd=ROOT,
            env=os.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    site = Site(folder / "site")
    gone, node_port = free_port(), free_port()
    with app("the app") as behind:
        plain = manifests.service("fleet", behind.port)
        service = manifests.service("fleet", behind.port, annotations=ANNOTATIONS)
        service = service.replace("  ports: [{", f"  type: NodePort\n  ports: [{{nodePort: {node_port}, ")
        site.write("fleet.yaml", manifests.routed("fleet", HOST, behind.port, gone).replace(plain, service))
        with running(folder / "log", str(site.folder), "--node-port-bind=127.0.0.1") as program:
            world = World(program, behind, gone)
            for _ in range(REQUESTS):
                assert program.get(host=HOST)[0] == 200
            with socket.create_connection(("127.0.0.1", node_port), timeout=PATIENCE_S):
                until(lambda: world.endpoints()[world.down]["state"] == "unhealthy", "an endpoint that is down")
                yield world


def test_the_api_adds_up_what_workers_count_and_says_what_checks_know(world: World) -> None:
    fleet = world.fleet()
    (listener,) = fleet["listeners"]
    assert (listener["role"], listener["bound"], listener["pool"]) == ("nodePort", True, "default/fleet:80")
    (pool,) = fleet["pools"]
    assert pool["live"]["workers"] == 2
    assert pool["live"]["breaker"] == {"requests": 0, "pending": 0, "overflows": 0}
    assert pool["health_check"]["check"] == "http:/healthz"
    up, down = (world.endpoints()[key] for key in (world.up, world.down))
    assert (up["state"], up["live"]["check"]["detail"]) == ("ready", "status 200")
    assert up["live"]["picks"] >= REQUESTS
    assert up["live"]["latency_ms"] is not None
    assert (down["state"], down["healthy"]) == ("unhealthy", False)
    assert down["live"]["check"]["detail"] == "connection refused"
    assert down["live"]["check"]["checked_at"].endswith("Z")


def test_the_command_shows_what_the_api_says(world: World) -> None:
    done = world.command()
    assert (done.returncode, done.stderr) == (0, "")
    _, *lines = (" ".join(line.split()) for line in done.stdout.splitlines())
    up, down = (next(line for line in lines if f" {key} slices " in line) for key in (world.up, world.down))
    assert up.startswith("default/fleet:80 NodePort 127.0.0.1:")
    assert f"(nodePort) ipvs rr {world.up} slices ready 1 " in up
    assert up.endswith(" ms status 200")
    assert f" {world.down} slices unhealthy 1 " in down
    assert down.endswith(" connection refused")
    (fleet,) = json.loads(world.command("--output", "json").stdout)
    assert fleet.keys() == world.fleet().keys()


def test_metrics_have_the_same(world: World) -> None:
    program = world.program
    assert sample(program, "ingressd_endpoint_healthy", endpoint=world.up) == 1
    assert sample(program, "ingressd_endpoint_healthy", endpoint=world.down) == 0
    assert sample(program, "ingressd_endpoint_latency_seconds", endpoint=world.up) > 0
    assert sample(program, "ingressd_health_check_up", target=world.up, check="http:/healthz") == 1
    assert sample(program, "ingressd_health_check_up", target=world.down, check="http:/healthz") == 0
    assert sample(program, "ingressd_pool_panic", pool="default/fleet:80") == 0
    assert sample(program, "ingressd_pool_breaker_requests", pool="default/fleet:80") == 0
