"""Peer: one proxy that can be told a scenario; Running: it, running.

In: a scenario and a place. Out: files of configuration, a pinned process, and edits of it while it runs.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT
from bench.process import ADDRESS, Process, free_port
from bench.scenario import Scenario
from bench.upstream import SMALL_BODY, Upstream

ANSWER_S = 30.0
"""How long one probing request may take: with 50,000 hosts, some proxies need a while."""
IDLE_S = 300
"""Keep-alive on the client's side, for all alike: longer than any measurement."""
REQUESTS_PER_CONNECTION = 10_000
"""For those that have such a bound; it is ingressd's."""
DESCRIPTORS = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy runs and what it forwards to."""

    folder: Path
    upstream: Upstream
    certificate: Path
    """PEM: an ECDSA leaf for localhost and all hosts of the scenarios."""
    key: Path
    cores: tuple[int, ...]
    start_limit_s: float

    @property
    def access_log(self) -> Path:
        return self.folder / "access.log"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a proxy listens on 127.0.0.1."""

    http: int
    https: int
    admin: int = 0
    stream: int = 0
    """TCP is passed on from here as it is, where the scenario has that."""


@dataclass(slots=True)
class Running:
    """A proxy that serves a scenario."""

    name: str
    scenario: Scenario
    place: Place
    ports: Ports
    process: Process
    ready_s: float = 0.0
    """From its start (and the check of its configuration, where starting it by the book has one) to the last route."""
    checked_s: float = 0.0
    """Of that, what the check of the configuration took: nginx -t."""

    def empty_access_log(self) -> None:
        """So that no disk is filled: all proxies append."""
        if self.place.access_log.exists():
            os.truncate(self.place.access_log, 0)

    def serves(self, host: str, path: str) -> bool:
        """Whether this request reaches the upstream, over a new connection."""
        return answer(self.ports.http, host, path) == (200, SMALL_BODY)

    def until_served(self, host: str, path: str, patience_s: float) -> None:
        """Wait for a route. Raises StartError."""
        self.process.until(lambda: self.serves(host, path), f"answer for {host}{path}", patience_s)


class Peer(ABC):
    """One proxy. Its configuration is the ordinary one for one thread, with the features that ingressd has."""

    name: str
    takes_many_files = False
    """Whether the many files of a scenario are many files for it."""

    @abstractmethod
    def program(self) -> str | None:
        """The path of its program; None = it is not installed."""

    @abstractmethod
    def version(self) -> str:
        """As the program tells."""

    @abstractmethod
    def files(self, scenario: Scenario, place: Place, ports: Ports) -> dict[str, str]:
        """The whole configuration: text by file name inside the place's folder."""

    @abstractmethod
    def command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        """What starts it in the foreground."""

    @abstractmethod
    def edit(self, running: Running, edition: int) -> Callable[[], None]:
        """Prepare the next edition. Calling the result saves it, and tells the proxy where it has to be told."""

    def check_command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        """What checks the files, where starting by the book begins with that."""
        return []

    def environ(self, scenario: Scenario, place: Place) -> dict[str, str]:
        """What its environment has beyond the harness's."""
        return {}

    def output(self, scenario: Scenario, place: Place) -> Path:
        """Where its standard output goes."""
        return place.folder / f"{self.name}.out"

    def is_ready(self, running: Running) -> bool:
        """Whether it says that it is ready, where it says so."""
        return True

    def start(self, scenario: Scenario, place: Place) -> Running:
        """Start it and wait until it serves the last route. Raises StartError."""
        ports = Ports(free_port(), free_port(), free_port(), free_port())
        write_files(place.folder, self.files(scenario, place, ports))
        started_at = time.monotonic()
        checked_s = 0.0
        if check := self.check_command(scenario, place, ports):
            Process(check, self.output(scenario, place), place.cores).finish(place.start_limit_s)
            checked_s = time.monotonic() - started_at
        process = Process(
            self.command(scenario, place, ports),
            self.output(scenario, place),
            place.cores,
            self.environ(scenario, place),
            cwd=ROOT,
        )
        running = Running(self.name, scenario, place, ports, process, checked_s=checked_s)
        host, path = scenario.last_url()
        try:
            process.until(
                lambda: running.serves(host, path) and self.is_ready(running),
                f"answer for {host}{path}",
                place.start_limit_s,
            )
        except BaseException:
            process.stop()
            raise
        running.ready_s = time.monotonic() - started_at
        return running

    def missing(self) -> str | None:
        """Why it cannot take part, if it cannot."""
        if self.program() is None:
            return f"{self.name} is not installed (scripts/install-bench-peers)"
        return None

    def changed_files(self, running: Running, edition: int) -> dict[str, str]:
        """The files of the next edition that differ from the present ones."""
        scenario = running.scenario.edited(edition)
        before = self.files(running.scenario, running.place, running.ports)
        after = self.files(scenario, running.place, running.ports)
        running.scenario = scenario
        return {name: text for name, text in after.items() if before.get(name) != text}


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write each file as editors save it: a new file, moved to its place."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(text)
        draft.rename(path)


def answer(port: int, host: str, path: str) -> tuple[int, str]:
    """Status and body of one GET. Raises OSError when nobody answers."""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=ANSWER_S)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as problem:
        raise ConnectionError(repr(problem)) from problem
    finally:
        connection.close()


def said_version(command: list[str], pattern: str) -> str:
    """What a program says about its version."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"unknown: {problem}"
    found = re.search(pattern, said.stdout + said.stderr)
    return found[1] if found else "unknown"
