"""Commands in this process (quick) and as a program of their own (exit codes, pipes, terminals)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingressd.cli.main import execute
from tests.unit.cli.answering import Answering

CHECKOUT = Path(__file__).parents[3]
PROGRAM_S = 60


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]

INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
spec:
  ingressClassName: ingressd
  rules:
    - host: shop.example
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {service: {name: web, port: {number: 80}}}
          - path: /cart
            pathType: Prefix
            backend: {service: {name: cart, port: {number: 80}}}
"""

SERVICES = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    ingressd.dev/endpoints: 10.0.0.1:8080, 10.0.0.2:8080
spec:
  ports:
    - port: 80
---
apiVersion: v1
kind: Service
metadata:
  name: cart
spec:
  ports:
    - port: 80
      targetPort: 8000
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is in an empty folder, and nothing is set from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("INGRESSD_") or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder `shop`: a host with two paths; one Service says where it is, the other is asked for in DNS."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "ingress.yaml").write_text(INGRESS)
    (folder / "services.yaml").write_text(SERVICES)
    return folder


@pytest.fixture
def ingressd(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        code = execute(list(arguments))
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def server() -> Iterator[Answering]:
    """What may be an admin port."""
    server = Answering()
    yield server
    server.close()


@pytest.fixture
def program(tmp_path: Path) -> Command:
    """Run a command as a program of its own."""

    def run(*arguments: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "ingressd", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROGRAM_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
