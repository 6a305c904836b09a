"""A run that ends early, by SIGINT or because its time is over: nothing is left of it, and it says what is missing."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import ROOT
from bench.process import descendants, stat_fields

LIMIT_S = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty one with a short name: sockets of the peers lie in it, whose paths may have 107 bytes (unix(7))."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="b") as name:
        yield Path(name)


def names_of(pid: int) -> dict[int, str]:
    """PID to name of all descendants."""
    found = {}
    for one in descendants(pid):
        try:
            found[one] = Path(f"/proc/{one}/comm").read_text().strip()
        except OSError:
            continue
    return found


def state_of(pid: int) -> str:
    """R, S ... as in proc(5); empty when it is gone, or has ended and waits for its parent to notice."""
    try:
        return stat_fields(pid)[0].replace("Z", "")
    except OSError:
        return ""


def test_an_interrupted_run_reports_and_leaves_no_process_behind(folder: Path) -> None:
    command = [sys.executable, "-m", "bench", "--peers=ingressd", "--workload=get", "--seconds=300"]
    with subprocess.Popen(
        [*command, f"--folder={folder}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as bench:
        until = time.monotonic() + LIMIT_S
        while "wrk" not in (family := names_of(bench.pid)).values():
            assert bench.poll() is None, bench.communicate()
            assert time.monotonic() < until, family
            time.sleep(0.01)
        bench.send_signal(signal.SIGINT)
        output, said = bench.communicate(timeout=LIMIT_S)
    assert bench.returncode == 2, said
    assert "not measured\n  get  ingressd  interrupted\n" in output
    assert {"nginx", "wrk"} <= set(family.values())
    assert {family[one]: state_of(one) for one in family if state_of(one)} == {}
    assert list(folder.iterdir()) == []


def test_a_run_whose_time_is_over_begins_nothing_more_and_says_what_is_missing(folder: Path) -> None:
    command = [sys.executable, "-m", "bench", "--peers=ingressd", "--workload=get,body-10k", "--minutes=0"]
    ran = subprocess.run(
        [*command, f"--folder={folder}"], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ran.returncode == 2, ran.stderr
    missing = ran.stdout.partition("not measured\n")[2].splitlines()[-2:]
    assert [line.split(maxsplit=2) for line in missing] == [
        ["get", "ingressd", "the 0 minutes of --minutes were over"],
        ["body-10k", "ingressd", "the 0 minutes of --minutes were over"],
    ]
    assert list(folder.iterdir()) == []
