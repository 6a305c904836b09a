"""h2load: HTTP/2 over TLS, 8 connections with 8 streams each.

In: a port and a host. Out: a Sample, whose times are from h2load's log of every request.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.clients.sample import ClientError, Sample, sample_of
from bench.process import ADDRESS, before_exec, signals_held

CONNECTIONS = 8
STREAMS = 8
GRACE_S = 60.0

_totals = re.compile(r"^requests: .*?(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE)


def run_h2load(folder: Path, port: int, host: str, path: str, seconds: float, cores: Sequence[int]) -> Sample:
    """One run. Raises ClientError."""
    program = shutil.which("h2load")
    if program is None:
        raise ClientError("h2load is not installed (scripts/install-bench-peers)")
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    started_at = time.monotonic()
    try:
        with signals_held():
            ran = subprocess.run(
                [
                    *(program, "--threads=1", f"--clients={CONNECTIONS}", f"--max-concurrent-streams={STREAMS}"),
                    *(f"--duration={max(1, round(seconds))}", f"--log-file={log}", f"--connect-to={ADDRESS}:{port}"),
                    f"https://{host}{path}",
                ],
                capture_output=True,
                text=True,
                timeout=seconds + GRACE_S,
                preexec_fn=lambda: before_exec(cores),
                check=False,
            )
    except subprocess.TimeoutExpired as problem:
        raise ClientError(f"h2load: no end after {time.monotonic() - started_at:.0f} s") from problem
    return parse(ran.stdout + ran.stderr, log.read_text() if log.exists() else "", max(1, round(seconds)))


def parse(output: str, log: str, seconds: float) -> Sample:
    """The sample in h2load's summary and log (start, status, microseconds). Raises ClientError."""
    found = _totals.search(output)
    if found is None:
        raise ClientError(f"h2load: {' | '.join(output.strip().splitlines()[-4:]) or 'it said nothing'}")
    failed, errored, timeout = map(int, found.groups()[1:])
    times_s, bad = [], 0
    for line in log.splitlines():
        _start, status, took_us = line.split("\t")[:3]
        if status.startswith("2"):
            times_s.append(int(took_us) / 1e6)
        elif status != "-1":
            bad += 1
    note = f"{bad} status, {failed} failed, {errored} errored, {timeout} timeout"
    errors = bad + errored + timeout
    return sample_of(times_s, seconds, errors, note if errors else "")
