"""`ingressd demo` as a child process in a directory of its own, which looks like a checkout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

READY_S = 60
STOP_S = 30
COMMAND_S = 60


class RunningDemo:
    """A copy of examples/ served on free ports; commands run beside it see it on the documented ports.

    It has virtual addresses, too: in a network that no other demo of this machine has, because each is its process's.
    """

    def __init__(self, checkout: Path, directory: Path) -> None:
        self.checkout = checkout
        self.directory = directory
        self.environment = self._environment()
        self._log = directory / "demo.log"
        self._ports: dict[str, str] = {}
        self._node_ports = ""
        shutil.copytree(checkout / "examples", directory / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ingressd", "demo"),
                    *("--http-port=0", "--https-port=0", "--admin-port=0", "--dns-port=0"),
                    *("--", "--cluster-ips", f"--cluster-cidr=127.{100 + os.getpid() % 100}.0.0/16"),
                ],
                cwd=directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        """What the demo has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def run(self, command: str) -> tuple[int, str]:
        """Run a documented command in bash; returns its exit code and all it printed."""
        done = subprocess.run(
            ["bash", "-c", self.here(command)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_S,
            check=False,
        )
        return done.returncode, done.stdout.decode("utf-8", errors="replace")

    def here(self, text: str) -> str:
        """`text` with the documented ports replaced by those of this demo."""
        text = re.sub(r":(8080|8443|9080)\b", lambda match: f":{self._ports[match[1]]}", text)
        text = re.sub(r"-p 5300\b", f"-p {self._ports['5300']}", text)
        return re.sub(r"127\.0\.0\.1(?=:(?:30080|8090)\b)", self._node_ports, text)

    def restore_examples(self) -> list[str]:
        """Undo edits of the manifests; returns the files that differed."""
        changed = []
        for original in (self.checkout / "examples").rglob("*.yaml"):
            copy = self.directory / original.relative_to(self.checkout)
            if not copy.exists() or copy.read_bytes() != original.read_bytes():
                changed.append(str(original.relative_to(self.checkout)))
                shutil.copyfile(original, copy)
        return changed

    def stop(self) -> int:
        """Press Ctrl-C; returns the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _environment(self) -> dict[str, str]:
        """`ingressd` and `python` are those of this interpreter, as in an activated venv."""
        programs = self.directory / "bin"
        programs.mkdir()
        ingressd = programs / "ingressd"
        ingressd.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ingressd "$@"\n')
        ingressd.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INGRESSD_")}
        return kept | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.checkout),
            "NO_COLOR": "1",
        }

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while "Stop with Ctrl-C" not in self.log:
            assert self._process.poll() is None, f"the demo ended:\n{self.log}"
            assert time.monotonic() < deadline, f"the demo was not ready within {READY_S} s:\n{self.log}"
            time.sleep(0.05)
        for name, documented in (("http", "8080"), ("https", "8443"), ("admin", "9080"), ("dns", "5300")):
            found = re.search(rf"\b{name} [^ ]*:(\d+)", self.log)
            assert found is not None, self.log
            self._ports[documented] = found[1]
        found = re.search(r"their ports at (\S+)", self.log)
        assert found is not None, self.log
        self._node_ports = found[1]
