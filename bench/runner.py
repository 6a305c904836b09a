"""Runner: the rounds. Starts the proxies of a cluster, measures each workload on each of them in turn, stops them.

In: workloads, peers, a stand. Out: measurements and gaps, into Results. A proxy that fails costs its own cells only.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.clients.sample import ClientError, Sample
from bench.meter import cpu_s, rss_bytes, until_at_rest
from bench.peers.base import Peer, Place, Running
from bench.process import StartError
from bench.results import Gap, Measurement, Results
from bench.scenario import Scenario
from bench.upstream import Upstream
from bench.workloads import Target, Workload

WARM_UP_SHARE = 0.25
WARM_UP_LIMIT_S = 2.0
REST_LIMIT_S = 30.0

Say = Callable[[str], None]


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
    say: Say

    def place(self, name: str, workers: int) -> Place:
        """A new folder for one proxy."""
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

    def run(self, workloads: Sequence[Workload], peers: Sequence[Peer]) -> None:
        """All clusters, in the order of their first workload."""
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
                for workload in workloads:
                    if target := targets.get((workload.name, peer.name)):
                        self._measure(workload, target, round_)

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

    def _measure(self, workload: Workload, target: Target, round_: int) -> None:
        running, seconds = target.running, self._stand.seconds
        pid = running.process.pid
        try:
            workload.drive(target, min(seconds * WARM_UP_SHARE, WARM_UP_LIMIT_S))
            until_at_rest(pid, REST_LIMIT_S)
            began_at, cpu_before_s = time.monotonic(), cpu_s(pid)
            sample = workload.drive(target, seconds)
            used_s, lasted_s = cpu_s(pid) - cpu_before_s, time.monotonic() - began_at
            if not sample.requests:
                raise ClientError(f"nothing was answered in {seconds:g} s; {sample.error_note or 'no error either'}")
            running.process.check()
        except (ClientError, StartError, OSError, TimeoutError) as problem:
            self._stand.say(f"  round {round_} {workload.name} {running.name}: {problem}")
            self._results.gaps.append(Gap(workload.name, running.name, f"round {round_}: {problem}"))
            return
        measured = _measurement(workload, running, round_, sample, used_s, lasted_s)
        self._results.measurements.append(measured)
        running.empty_access_log()
        self._stand.say(
            f"  round {round_} {workload.name:18} {running.name:9} {measured.cpu_us:10.1f} us CPU"
            f" {measured.requests_s:10.0f}/s p99 {measured.p99_us / 1000:8.2f} ms {measured.errors} errors"
        )


def _measurement(
    workload: Workload, running: Running, round_: int, sample: Sample, used_s: float, lasted_s: float
) -> Measurement:
    return Measurement(
        workload=workload.name,
        peer=running.name,
        round=round_,
        unit=workload.unit,
        requests=sample.requests,
        seconds=sample.seconds,
        cpu_us=used_s * 1e6 / sample.requests,
        requests_s=sample.requests / sample.seconds,
        busy=used_s / lasted_s,
        p50_us=sample.p50_us,
        p99_us=sample.p99_us,
        p999_us=sample.p999_us,
        rss_bytes=rss_bytes(running.process.pid),
        errors=sample.errors,
        error_note=sample.error_note,
    )
