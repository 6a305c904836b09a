"""One proxy in front of one application, for every client that people use; and curl."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.program import PATIENCE_S, ROOT, Program, running
from tests.support.site import Site

HOST = "a.localhost"
"""By HTTP; not redirected."""
TLS_HOST = "tls.localhost"
"""By HTTPS; HTTP is redirected."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What `edge` gives: the program, the application behind it, and the CA that its clients trust."""

    program: Program
    app: App
    ca: Path

    def http(self, path: str) -> str:
        return f"http://{HOST}:{self.program.port('http')}{path}"

    def https(self, path: str, host: str = TLS_HOST) -> str:
        return f"https://{host}:{self.program.port('https')}{path}"


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Edge]:
    """An application behind the program, with a development certificate for TLS_HOST."""
    site = Site(folder / "site")
    certs = folder / "certs"
    subprocess.run(
        [sys.executable, "-m", "ingressd", "certs", "dev", TLS_HOST, "--dir", certs, "--secret", "tls"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (certs / "tls.yaml").rename(site.file("secret.yaml"))
    with app("the app") as behind:
        site.route(HOST, behind)
        site.write("tls.yaml", manifests.routed("tls", TLS_HOST, behind.port, secret="tls"))
        with running(folder / "log", str(site.folder), "--https-port=0", "--access-log=off", *options) as program:
            yield Edge(program, behind, certs / "ca.crt")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with serving(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


class Curl:
    """curl, which finds the hosts of `edge` on loopback and trusts its CA."""

    def __init__(self, edge: Edge) -> None:
        path = shutil.which("curl")
        assert path is not None, "curl is missing: run `make test-tools`"
        ports = [edge.program.port(purpose) for purpose in ("http", "https")]
        found = [f"{host}:{port}:127.0.0.1" for host in (HOST, TLS_HOST) for port in ports]
        resolve = [argument for place in found for argument in ("--resolve", place)]
        # -q first: a .curlrc of whoever runs the tests is not part of them.
        self._command = [path, "-q", "-sS", "--noproxy", "*", "--cacert", str(edge.ca), *resolve]

    def __call__(self, *arguments: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end, which must be a good one."""
        command = [*self._command, *arguments]
        done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=4 * PATIENCE_S)
        assert done.returncode == 0, done.stderr.decode()
        return done

    def refuses(self, *arguments: str) -> int:
        """The exit code of a run that must fail."""
        done = subprocess.run([*self._command, *arguments], capture_output=True, timeout=PATIENCE_S)
        assert done.returncode != 0, done.stdout
        return done.returncode

    def reading(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it; its output is for the caller to read."""
        return subprocess.Popen([*self._command, *arguments], stdout=subprocess.PIPE)


@pytest.fixture
def curl(edge: Edge) -> Curl:
    return Curl(edge)
