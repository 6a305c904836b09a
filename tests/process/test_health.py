"""Health checks in the whole program: an endpoint that says it is ill is left alone, and nobody notices."""

from __future__ import annotations

import http.server
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import site as manifests
from tests.support.program import Program, running, until
from tests.support.site import Site
from tests.support.steady import Steady

HOST = "fleet.localhost"
BODY = "served"
ANNOTATIONS = {
    "ingressd.dev/health-check": "http:/healthz",
    "ingressd.dev/health-interval": "100ms",
    "ingressd.dev/health-fall": "2",
    "ingressd.dev/outlier-detection": "off",
}


class Endpoint:
    """Serves well at any time, but what it says of its health is a test's to choose."""

    def __init__(self) -> None:
        self.health = 200
        self.served = 0
        endpoint = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                check = self.path == "/healthz"
                endpoint.served += not check
                self.send_response(endpoint.health if check else 200)
                self.send_header("Content-Length", str(len(BODY)))
                self.end_headers()
                self.wfile.write(BODY.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def fleet() -> Iterator[list[Endpoint]]:
    fleet = [Endpoint() for _ in range(3)]
    yield fleet
    for endpoint in fleet:
        endpoint.close()


def routed(fleet: list[Endpoint], annotations: dict[str, str] | None) -> str:
    text = manifests.routed("fleet", HOST, *(each.port for each in fleet))
    plain = manifests.service("fleet", fleet[0].port)
    return text.replace(plain, manifests.service("fleet", fleet[0].port, annotations=annotations))


def until_left_alone(program: Program, endpoint: Endpoint) -> None:
    """Requests until some twenty in a row have not met it."""

    def alone() -> bool:
        before = endpoint.served
        for _ in range(20):
            assert program.get(host=HOST) == (200, BODY)
        return endpoint.served == before

    until(alone, "an endpoint that is not asked any more")


def until_served_by(program: Program, endpoint: Endpoint) -> None:
    def served() -> bool:
        before = endpoint.served
        assert program.get(host=HOST) == (200, BODY)
        return endpoint.served > before

    until(served, "an endpoint that is asked again")


def until_another_controller(program: Program) -> None:
    pids = program.pids()
    os.kill(pids["controller"], signal.SIGKILL)
    until(lambda: program.pids()["controller"] != pids["controller"], "another controller")
    until(lambda: program.admin("/readyz")[0] == 200, "readiness")


def test_an_endpoint_that_says_it_is_ill_is_taken_out_and_comes_back_without_a_failure(
    tmp_path: Path, fleet: list[Endpoint]
) -> None:
    site = Site(tmp_path / "site")
    path = site.write("fleet.yaml", routed(fleet, ANNOTATIONS))
    ill, *others = fleet
    with running(tmp_path / "log", str(site.folder)) as program:
        generation = program.generation
        with Steady(program, HOST, BODY) as steady:
            until_served_by(program, ill)
            ill.health = 503
            until_left_alone(program, ill)
            assert "is unhealthy: status 503 (http:/healthz)" in program.said
            ill.health = 200
            until_served_by(program, ill)
            assert "is healthy again" in program.said
            # Most are ill: then the check is not believed.
            for endpoint in fleet:
                endpoint.health = 500
            until(lambda: program.said.count("is unhealthy") >= 1 + len(fleet), "three endpoints that are ill")
            for endpoint in fleet:
                until_served_by(program, endpoint)
            assert program.generation == generation, "health is no edit"
            # Without the check all is forgotten; with another one it is asked anew.
            others[0].health = others[1].health = 200
            until(lambda: program.said.count("is healthy again") >= 3, "two endpoints that are well")
            until_left_alone(program, ill)
            path.write_text(routed(fleet, None))
            program.until_served(generation + 1)
            until_served_by(program, ill)
            path.write_text(routed(fleet, {**ANNOTATIONS, "ingressd.dev/health-status": "200-299"}))
            program.until_served(generation + 2)
            until_left_alone(program, ill)
            # What a controller has found out, the next one finds out before workers hear of it.
            before = ill.served
            until_another_controller(program)
            for _ in range(20):
                assert program.get(host=HOST) == (200, BODY)
            assert ill.served == before
        assert steady.answers > 100
