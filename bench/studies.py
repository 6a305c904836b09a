"""Studies: what is not a cost a request. Cold starts, one edit among many files, memory of a large table.

In: peers, a stand. Out: figures and gaps, into Results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench.clients.paced import Paced
from bench.clients.sample import ClientError
from bench.meter import cpu_s, rss_by_role, rss_bytes
from bench.peers.base import Peer, Running
from bench.process import StartError
from bench.reload import served_s
from bench.results import Figure, Gap, Results
from bench.runner import Stand, served
from bench.scenario import Scenario, host_name

PATHS = 2
RATE_S = 200.0
"""Requests a second beside an edit: a light load, so that what is seen is the edit."""
EDITS = 5
BETWEEN_EDITS_S = 1.0
"""From served to the next save."""
CALM_S = 3.0
"""The same load without an edit, for comparison."""
SETTLE_S = 2.0
"""After the start, before memory is looked at."""


@dataclass(frozen=True, slots=True)
class Study:
    """A number of hosts with two paths each, in one file or in one for each host."""

    name: str
    file_per_host: bool


ALL = (Study("start-one-file", file_per_host=False), Study("start-many-files", file_per_host=True))


class Studies:
    """Runs studies on peers."""

    def __init__(self, stand: Stand, results: Results, hosts: int, rounds: int) -> None:
        self._stand = stand
        self._rounds = rounds
        self._results = results
        self._scenario = Scenario(hosts, PATHS)

    def run(self, studies: Sequence[Study], peers: Sequence[Peer]) -> None:
        """Interleaved as the workloads: each round asks each peer. Raises OutOfTimeError."""
        for round_ in range(1, self._rounds + 1):
            for study in studies:
                for peer in peers:
                    self._one(study, peer, round_)

    def _one(self, study: Study, peer: Peer, round_: int) -> None:
        if study.file_per_host and not peer.takes_many_files:
            if round_ == 1:
                self._results.gaps.append(Gap(study.name, peer.name, "its configuration is one file"))
            return
        scenario = replace(self._scenario, file_per_host=study.file_per_host)
        try:
            with served(peer, scenario, self._stand.place(peer.name, workers=1)) as running:
                self._note(study, running, round_, "ready", running.ready_s, "s")
                if running.checked_s:
                    self._note(study, running, round_, "ready, of that its check", running.checked_s, "s")
                self._note(study, running, round_, "ready, CPU", cpu_s(running.process.pid), "s")
                time.sleep(SETTLE_S)
                self._memory(study, running, round_)
                self._edits(study, peer, running, round_)
        except (StartError, ClientError, OSError) as problem:
            self._stand.say(f"  round {round_} {study.name} {peer.name}: {problem}")
            self._results.gaps.append(Gap(study.name, peer.name, f"round {round_}: {problem}"))

    def _memory(self, study: Study, running: Running, round_: int) -> None:
        self._note(study, running, round_, "RSS idle", rss_bytes(running.process.pid) / 2**20, "MiB")
        for role, size_bytes in rss_by_role(running.process.pid).items():
            self._note(study, running, round_, f"RSS idle, {role}", size_bytes / 2**20, "MiB")

    def _edits(self, study: Study, peer: Peer, running: Running, round_: int) -> None:
        # Now, because to work one out takes long, and the paced client would have to wait for it.
        saves = [peer.edit(running, edition) for edition in range(1, EDITS + 1)]
        with self._paced(running) as paced:
            time.sleep(CALM_S)
            calm = paced.result()
        self._note(study, running, round_, "p99 without edits", calm.p99_us / 1000, "ms")
        with self._paced(running) as paced:
            for edition, save in enumerate(saves, 1):
                saved_at, cpu_before_s = time.monotonic(), cpu_s(running.process.pid)
                save()
                took_s = served_s(running, edition, saved_at)
                used_s = cpu_s(running.process.pid) - cpu_before_s
                self._note(study, running, round_, "edit, save to served", took_s * 1000, "ms")
                self._note(study, running, round_, "edit, CPU until served", used_s * 1000, "ms")
                time.sleep(BETWEEN_EDITS_S)
            during = paced.result()
        self._note(study, running, round_, "p99 during edits", during.p99_us / 1000, "ms")
        self._note(study, running, round_, "longest 1 in 1,000 during edits", during.p999_us / 1000, "ms")
        self._note(study, running, round_, "errors during edits", during.errors, "")

    @contextmanager
    def _paced(self, running: Running) -> Iterator[Paced]:
        paced = Paced(running.ports.http, host_name(0), RATE_S, self._stand.load_cores)
        try:
            yield paced
        finally:
            paced.kill()

    def _note(self, study: Study, running: Running, round_: int, what: str, value: float, unit: str) -> None:
        name = f"{study.name} ({self._scenario.hosts * PATHS:,} routes): {what}"
        self._results.figures.append(Figure(name, running.name, round_, value, unit))
        self._stand.say(f"  round {round_} {name} {running.name}: {value:.2f} {unit}")
