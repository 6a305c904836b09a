"""The whole program as its users start it: real processes, real sockets, free ports."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
_LOOK_S = 0.02

Answer = tuple[int, str]


def until(condition: Callable[[], Any], what: str) -> Any:
    """Poll `condition` until it is true; a refused connection counts as not yet."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except OSError:
            pass
        time.sleep(_LOOK_S)
    raise AssertionError(f"waited {PATIENCE_S} s in vain for: {what}")


def ask(port: int, path: str, host: str) -> Answer:
    """One GET on a connection of its own. An answer that is no HTTP is a ConnectionError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except http.client.HTTPException as problem:
        raise ConnectionError(repr(problem)) from problem
    finally:
        connection.close()


class Program:
    """One running `ingressd run`."""

    def __init__(self, log: Path, arguments: list[str], environ: dict[str, str]) -> None:
        self._log = log
        self._ports: dict[str, int] = {}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingressd", "run", *arguments],
                cwd=ROOT,
                # The authorities of the system are read by each process that imports aiohttp; no test trusts them.
                env={**os.environ, "SSL_CERT_FILE": os.devnull, **environ},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def said(self) -> str:
        """The log without the lines of requests."""
        return "".join(line for line in self.log.splitlines(keepends=True) if not line.startswith('{"time":'))

    def port(self, purpose: str) -> int:
        """The port that was opened for http, https or admin, as the log's first line tells."""
        if purpose not in self._ports:
            line = re.compile(rf"\b{purpose}=\S+:(\d+)(?=\s)")
            self._ports[purpose] = int(until(lambda: line.search(self.log) or self._check(), f"a {purpose} port")[1])
        return self._ports[purpose]

    def _check(self) -> None:
        assert self.process.poll() is None, f"ingressd ended with {self.process.returncode}:\n{self.log}"

    def admin(self, path: str) -> Answer:
        return ask(self.port("admin"), path, "localhost")

    def get(self, path: str = "/", host: str = "a.localhost") -> Answer:
        return ask(self.port("http"), path, host)

    def api(self, name: str) -> Any:
        status, text = self.admin(f"/api/v1/{name}")
        assert status == 200, text
        return json.loads(text)

    @property
    def generation(self) -> int:
        """Of what every worker serves."""
        return int(self.api("status")["generation"])

    def faults(self, file: Path) -> list[dict[str, Any]]:
        """Those of one file."""
        return [fault for fault in self.api("faults") if fault["file"] == str(file)]

    def until_ready(self) -> Program:
        def ready() -> bool:
            self._check()
            return self.admin("/readyz")[0] == 200

        until(ready, "readiness")
        return self

    def until_served(self, generation: int) -> None:
        def served() -> bool:
            self._check()
            return self.generation >= generation

        until(served, f"generation {generation}")

    def until_answers(self, answer: Answer, path: str = "/", host: str = "a.localhost") -> None:
        until(lambda: self.get(path, host) == answer, f"{answer} for {host}{path}")

    def pids(self) -> dict[str, Any]:
        pids: dict[str, Any] = self.api("status")["processes"]
        return pids

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End whatever is left of it."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait()


def start(log: Path, *arguments: str, environ: dict[str, str] | None = None) -> Program:
    """Start the program on free ports of loopback, with two workers and without HTTPS unless `arguments` say else."""
    given = ["--bind=127.0.0.1", "--http-port=0", "--https-port=off", "--admin-port=0", "--workers=2"]
    return Program(log, [*given, "--log-format=text", *arguments], environ or {})


@contextlib.contextmanager
def running(
    log: Path, *arguments: str, environ: dict[str, str] | None = None, traces: bool = False
) -> Iterator[Program]:
    """The program, ready; at the end it must drain, end by itself, and have logged no traceback unless it `traces`."""
    program = start(log, *arguments, environ=environ)
    try:
        yield program.until_ready()
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.said
        assert traces or "Traceback" not in program.log, program.said
    finally:
        program.kill()
