"""Runner: the rounds. Starts the proxies of a cluster, measures each workload on each of them in turn, stops them.

In: workloads, peers, a stand. Out: measurements and gaps, into Results. A proxy that fails costs its own cells only;
time that is over ends the run.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.clients.sample import ClientError
from bench.meter import cpu_s, rss_bytes, until_at_rest
from bench.peers.base import Peer, Place, Running
from bench.process import StartError
from bench.results import Gap, Results
from bench.scenario import Scenario
from bench.turns import Turn, measurement, order, turns_of
from bench.upstream import Upstream
from bench.workloads import Target, Workload

WARM_UP_SHARE = 0.25
WARM_UP_LIMIT_S = 2.0
REST_LIMIT_S = 30.0

Say = Callable[[str], None]


class OutOfTimeError(Exception):
    """The run has taken as long as it may."""


@dataclass(frozen=True, slots=True)
class Stand:
    """What all measurements of a run share."""

    folder: Path
    upstream: Upstream
    certificate: Path
    key: Path
    proxy_cores: tuple[int, ...]
    """The first one is for a proxy with one worker."""
    load_cores: tuple[int, ...]
    rounds: int
    seconds: float
    start_limit_s: float
    ends_at: float
    """Of the monotonic clock: nothing is begun after it."""
    say: Say

    def check_time(self) -> None:
        """Raises OutOfTimeError when the time is over."""
        if time.monotonic() >= self.ends_at:
            raise OutOfTimeError

    def place(self, name: str, workers: int) -> Place:
        """A new folder for one proxy. Raises OutOfTimeError."""
        self.check_time()
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        cores = self.proxy_cores[:workers]
        return Place(folder, self.upstream, self.certificate, self.key, cores, self.start_limit_s)


@contextmanager
def served(peer: Peer, scenario: Scenario, place: Place) -> Iterator[Running]:
    """The proxy for the time of the block; its folder is removed. Raises StartError."""
    try:
        running = peer.start(scenario, place)
        try:
            yield running
        finally:
            running.process.stop()
    finally:
        shutil.rmtree(place.folder, ignore_errors=True)


class Runner:
    """Measures workloads on peers."""

    def __init__(self, stand: Stand, results: Results) -> None:
        self._stand = stand
        self._results = results
        self._warm: set[tuple[str, str]] = set()
        """Workload and peer of what has had its warm-up."""

    def run(self, workloads: Sequence[Workload], peers: Sequence[Peer]) -> None:
        """All clusters, in the order of their first workload. Raises OutOfTimeError."""
        if not peers:
            return
        for cluster in dict.fromkeys(workload.cluster for workload in workloads):
            with ExitStack() as stack:
                self._run_cluster(stack, [one for one in workloads if one.cluster == cluster], peers)

    def _run_cluster(self, stack: ExitStack, workloads: Sequence[Workload], peers: Sequence[Peer]) -> None:
        targets: dict[tuple[str, str], Target] = {}
        for scenario in dict.fromkeys(workload.scenario for workload in workloads):
            those = [workload for workload in workloads if workload.scenario == scenario]
            asked = {peer.name: [workload for workload in those if self._asks(workload, peer)] for peer in peers}
            self._stand.say(f"{scenario.label}: starting {', '.join(name for name, own in asked.items() if own)}")
            for peer in peers:
                own = asked[peer.name]
                if not own:
                    continue
                target = self._start(stack, peer, scenario, own)
                targets |= {
                    (workload.name, peer.name): target
                    for workload in own
                    if target is not None and self._fits(workload, target)
                }
        for round_ in range(1, self._stand.rounds + 1):
            # Each round begins with another proxy, so that none always follows the same one.
            first = round_ % len(peers)
            for peer in [*peers[first:], *peers[:first]]:
                own = [workload for workload in workloads if (workload.name, peer.name) in targets]
                self._round([(workload, targets[workload.name, peer.name]) for workload in order(own, round_)], round_)

    def _start(self, stack: ExitStack, peer: Peer, scenario: Scenario, workloads: Sequence[Workload]) -> Target | None:
        place = self._stand.place(peer.name, scenario.workers)
        try:
            running = stack.enter_context(served(peer, scenario, place))
        except (StartError, OSError) as problem:
            self._stand.say(f"  {peer.name}: {problem}")
            self._results.gaps += [Gap(one.name, peer.name, f"did not start: {problem}") for one in workloads]
            return None
        return Target(peer, running, place.folder, self._stand.load_cores)

    def _asks(self, workload: Workload, peer: Peer) -> bool:
        asks = workload.only in ("", peer.name)
        if not asks:
            self._results.gaps.append(Gap(workload.name, peer.name, f"asked of {workload.only} only"))
        return asks

    def _fits(self, workload: Workload, target: Target) -> bool:
        reason = workload.unfit(target.running)
        if reason:
            self._results.gaps.append(Gap(workload.name, target.peer.name, reason))
        return not reason

    def _round(self, ordered: Sequence[tuple[Workload, Target]], round_: int) -> None:
        """One proxy's part of a round: a workload of several turns is measured when it had the last of them."""
        turns: dict[str, list[Turn]] = {}
        failed = set()
        for workload, target in ordered:
            if workload.name in failed:
                continue
            self._stand.check_time()
            try:
                turn = self._turn(workload, target)
            except (ClientError, StartError, OSError, TimeoutError) as problem:
                failed.add(workload.name)
                self._stand.say(f"  round {round_} {workload.name} {target.peer.name}: {problem}")
                self._results.gaps.append(Gap(workload.name, target.peer.name, f"round {round_}: {problem}"))
                continue
            turns.setdefault(workload.name, []).append(turn)
            if len(turns[workload.name]) == turns_of(workload):
                self._note(workload, target, round_, turns[workload.name])

    def _turn(self, workload: Workload, target: Target) -> Turn:
        """One run of the client, and before the first one on this proxy a shorter one that does not count."""
        running = target.running
        pid = running.process.pid
        seconds = self._stand.seconds / turns_of(workload)
        if (workload.name, running.name) not in self._warm:
            workload.drive(target, min(seconds * WARM_UP_SHARE, WARM_UP_LIMIT_S))
            self._warm.add((workload.name, running.name))
        until_at_rest(pid, REST_LIMIT_S)
        began_at, cpu_before_s = time.monotonic(), cpu_s(pid)
        sample = workload.drive(target, seconds)
        used_s, lasted_s = cpu_s(pid) - cpu_before_s, time.monotonic() - began_at
        if not sample.requests:
            raise ClientError(f"nothing was answered in {seconds:g} s; {sample.error_note or 'no error either'}")
        running.process.check()
        running.empty_access_log()
        return Turn(sample, used_s, lasted_s, rss_bytes(pid))

    def _note(self, workload: Workload, target: Target, round_: int, turns: Sequence[Turn]) -> None:
        measured = measurement(workload, target.peer.name, round_, turns)
        self._results.measurements.append(measured)
        self._stand.say(
            f"  round {round_} {workload.name:18} {target.peer.name:9} {measured.cpu_us:10.1f} us CPU"
            f" {measured.requests_s:10.0f}/s p99 {measured.p99_us / 1000:8.2f} ms {measured.errors} errors"
        )
