"""The programs of a soak: ingressd with two workers and its backends, as children that cannot outlive it.

In: a folder. Out: ports, the roles of processes, the generation.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.process import Process
from soak import ADDRESS, ROOT

START_S = 30.0
STOP_S = 40.0
_API_S = 5.0
_ADMIN = re.compile(r"\badmin=\S+:(\d+)(?=\s)")


@contextmanager
def backends(count: int) -> Iterator[list[int]]:
    """The ports of so many applications."""
    command = [sys.executable, "-m", "soak.backend"]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        ports = []
        for each in started:
            assert each.stdout is not None
            ports.append(int(each.stdout.readline()))
        yield ports
    finally:
        for each in started:
            each.kill()
            each.wait()
            for pipe in (each.stdin, each.stdout):
                if pipe is not None:
                    pipe.close()


class Program:
    """One running `ingressd run`."""

    def __init__(self, folder: Path, site: Path, arguments: Sequence[str], cores: Sequence[int]) -> None:
        self.access_log = folder / "access.log"
        fixed = ["--bind=127.0.0.1", "--http-port=0", "--https-port=0", "--admin-port=0", "--log-format=text"]
        command = [sys.executable, "-m", "ingressd", "run", *fixed, f"--access-log={self.access_log}", *arguments]
        self.process = Process([*command, str(site)], folder / "program.log", cores, cwd=ROOT)
        self.ports: dict[str, int] = {}
        self._admin = 0
        self._roles: dict[int, str] = {self.process.pid: "supervisor"}

    @property
    def log(self) -> str:
        return self.process.log

    async def until_ready(self) -> None:
        """Raises TimeoutError, or StartError when it ended."""
        async with asyncio.timeout(START_S):
            while (found := _ADMIN.search(self.log)) is None:
                self.process.check()
                await asyncio.sleep(0.05)
            self._admin = int(found[1])
            while not (status := await self.status()).get("ready"):
                self.process.check()
                await asyncio.sleep(0.05)
            self.ports = status["listeners"]

    async def status(self) -> dict[str, Any]:
        """Of the API; empty while no controller answers."""
        try:
            async with asyncio.timeout(_API_S):
                reader, writer = await asyncio.open_connection(ADDRESS, self._admin)
                try:
                    writer.write(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
                finally:
                    writer.close()
            status: dict[str, Any] = json.loads(body) if b" 200 " in head.partition(b"\r\n")[0] else {}
        except (OSError, TimeoutError, ValueError):
            return {}
        if status:
            processes = status["processes"]
            self._roles = {
                processes["supervisor"]: "supervisor",
                processes["controller"]: "controller",
                **dict.fromkeys(processes["workers"], "worker"),
            }
        return status

    @property
    def roles(self) -> dict[int, str]:
        """Pid to role, as the API said last."""
        return self._roles

    def pids(self, role: str) -> list[int]:
        return [pid for pid, its in self._roles.items() if its == role]

    def stop(self) -> None:
        """It must drain and end by itself. Raises StartError."""
        self.process._process.terminate()
        self.process.finish(STOP_S)
