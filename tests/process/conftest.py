"""The whole program as its users start it: real processes, real sockets, free ports."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """Poll `condition` until it is true; a refused connection counts as not yet."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE_S} s in vain for: {what}")


class Backend:
    """An HTTP server that answers with its name; /slow answers when it is released."""

    def __init__(self, name: str) -> None:
        backend = self
        self.entered = threading.Event()
        self.release = threading.Event()

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/slow":
                    backend.entered.set()
                    backend.release.wait(PATIENCE_S)
                body = name.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Program:
    """One running `ingressd run`."""

    def __init__(self, log: Path, arguments: list[str], environ: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingressd", "run", *arguments],
                cwd=ROOT,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def port(self, purpose: str) -> int:
        """The port that was opened for http, https or admin, as the log's first line tells."""
        found = until(lambda: re.search(rf"\b{purpose}=\S+:(\d+)(?=\s)", self.log) or self._check(), f"a {purpose} port")
        return int(found[1])

    def _check(self) -> None:
        assert self.process.poll() is None, f"ingressd ended with {self.process.returncode}:\n{self.log}"

    def admin(self, path: str) -> tuple[int, str]:
        return self._get(self.port("admin"), path, "localhost")

    def get(self, path: str = "/", host: str = "a.localhost") -> tuple[int, str]:
        return self._get(self.port("http"), path, host)

    def api(self, name: str) -> Any:
        status, text = self.admin(f"/api/v1/{name}")
        assert status == 200, text
        return json.loads(text)

    def until_ready(self) -> Program:
        def ready() -> bool:
            self._check()
            return self.admin("/readyz")[0] == 200

        until(ready, "readiness")
        return self

    def until_served(self, generation: int) -> None:
        until(lambda: self.api("status")["generation"] >= generation, f"generation {generation}")

    def pids(self) -> dict[str, Any]:
        pids: dict[str, Any] = self.api("status")["processes"]
        return pids

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def _get(self, port: int, path: str, host: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except http.client.HTTPException as problem:
            raise ConnectionError(repr(problem)) from problem
        finally:
            connection.close()


class Site:
    """A folder of manifests that routes a.localhost to a backend."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def route(self, host: str, backend: Backend, file: str = "site.yaml") -> None:
        """Write the manifests, by rename as editors do."""
        name = file.removesuffix(".yaml")
        text = f"""\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: ingressd
  rules:
    - host: {host}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {{service: {{name: {name}, port: {{number: 80}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  ports: [{{name: http, port: 80, targetPort: {backend.port}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {backend.port}}}]
endpoints: [{{addresses: ["127.0.0.1"]}}]
"""
        draft = self.folder / f".{file}.draft"
        draft.write_text(text)
        draft.rename(self.folder / file)


Launch = Callable[..., Program]


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend("one")
    yield backend
    backend.close()


@pytest.fixture
def other_backend() -> Iterator[Backend]:
    backend = Backend("two")
    yield backend
    backend.close()


@pytest.fixture
def site(tmp_path: Path, backend: Backend) -> Site:
    site = Site(tmp_path / "site")
    site.route("a.localhost", backend)
    return site


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start the program on free ports; whatever is left of it at the end is killed."""
    programs: list[Program] = []

    def start(*arguments: str, environ: dict[str, str] | None = None) -> Program:
        given = ["--bind=127.0.0.1", "--http-port=0", "--https-port=off", "--admin-port=0", "--workers=2"]
        log = tmp_path / f"log-{len(programs)}"
        program = Program(log, [*given, "--log-format=text", *arguments], environ or {})
        programs.append(program)
        return program

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.signal(signal.SIGKILL)
            program.wait()
