"""`python -m bench.profile`: what a worker of ingressd does with its time, and which system calls a request makes.

In: the name of a workload; perf, strace and the right to use them. Out: shares of the samples, calls a request.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import workloads
from bench.certificate import make_certificate
from bench.clients.sample import ClientError
from bench.clients.wrk import Ask
from bench.peers.base import Place
from bench.peers.ingressd import Ingressd
from bench.perf import counts, kinds
from bench.process import Process, StartError, descendants, one_line
from bench.report import table
from bench.runner import served
from bench.upstream import running_upstream
from bench.workloads import Target, Workload, wrk

ASKS = {"get": Ask(connections=1), "new-connection": Ask(headers={"Connection": "close"}, connections=1)}
"""What can be profiled -> how it is asked while system calls are counted: one at a time, so that no call is shared."""
SECONDS, COUNTED_S, START_LIMIT_S = 10.0, 2.0, 60.0
SAMPLES_A_SECOND = 997
"""A prime: no timer of the worker keeps step with it."""
LEAST_CALLS = 0.1
"""A request; below it are timers and the start."""


def main(arguments: Sequence[str]) -> int:
    """Start, load, look, print. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description="Where a worker's time goes.")
    parser.add_argument("workload", nargs="?", default="get", choices=list(ASKS))
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help=f"under load [{SECONDS:g}]")
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[0], cores[-1]
    workload = next(one for one in workloads.ALL if one.name == options.workload)
    try:
        with tempfile.TemporaryDirectory() as name, running_upstream(Path(name) / "upstream", [last]) as upstream:
            place = Place(Path(name) / "proxy", upstream, *make_certificate(Path(name)), (first,), START_LIMIT_S)
            place.folder.mkdir()
            with served(Ingressd(), workload.scenario, place) as running:
                target = Target(Ingressd(), running, place.folder, (last,))
                _print("a worker's time", samples(target, workload, options.seconds), "%")
                _print("system calls a request", calls(target, workload), "")
    except (StartError, ClientError, OSError) as problem:
        print(f"profile: {problem}", file=sys.stderr)
        return 2
    return 0


def samples(target: Target, workload: Workload, seconds: float) -> Mapping[str, float]:
    """Percents of the samples by kind of function."""
    data = f"{target.folder}/perf.data"
    workload.drive(target, 1.0)
    record = ["perf", "record", f"--freq={SAMPLES_A_SECOND}", f"--pid={_worker(target)}", f"--output={data}"]
    watching = Process(record, target.folder / "perf.out", target.cores)
    try:
        workload.drive(target, seconds)
    finally:
        watching.stop()
    report = ["perf", "report", f"--input={data}", "--no-children", "--field-separator=;", "--sort=dso,symbol"]
    told = subprocess.run([*report, "--stdio"], capture_output=True, text=True, check=False)
    if found := kinds(told.stdout):
        return found
    raise StartError(f"perf: {one_line(watching.log + told.stderr)}")


def calls(target: Target, workload: Workload) -> Mapping[str, float]:
    """System calls a request, by name."""
    pid, summary = _worker(target), target.folder / "strace.summary"
    trace = ["strace", "-f", "-c", f"--output={summary}", f"--attach={pid}"]
    watching = Process(trace, target.folder / "strace.out", target.cores)
    try:
        watching.until(lambda: "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(), "leave to trace", 10.0)
        requests = wrk(ASKS[workload.name])(target, COUNTED_S).requests
    finally:
        watching.stop()
    each = counts(summary.read_text()).items()
    return {name: count / requests for name, count in each if count / requests >= LEAST_CALLS}


def _worker(target: Target) -> int:
    pids = descendants(target.running.process.pid)
    return next(pid for pid in pids if b".worker" in Path(f"/proc/{pid}/cmdline").read_bytes())


def _print(title: str, values: Mapping[str, float], unit: str) -> None:
    rows = [(name, f"{value:.2f}", unit) for name, value in sorted(values.items(), key=lambda item: -item[1])]
    print("\n".join([title, *table(rows)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
