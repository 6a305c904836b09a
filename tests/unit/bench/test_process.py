"""Processes of the harness and what they are said to cost, on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import ROOT
from bench.meter import cpu_s, rss_bytes
from bench.process import Process, StartError, stat_fields

BURN = "import time\nuntil = time.process_time() + {seconds}\nwhile time.process_time() < until: pass\n"
PARENT = f"""
import subprocess, sys, time
subprocess.run([sys.executable, "-c", {BURN.format(seconds=0.2)!r}])
print("burnt", flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def cores() -> list[int]:
    return [min(os.sched_getaffinity(0))]


@pytest.fixture
def parent(tmp_path: Path) -> Process:
    process = Process([sys.executable, "-c", PARENT], tmp_path / "log", cores())
    try:
        process.until(lambda: process.log.count("\n") == 2, "two lines", 60)
    except BaseException:
        process.stop()
        raise
    return process


def test_the_cpu_of_a_child_that_has_ended_still_counts(parent: Process) -> None:
    try:
        assert cpu_s(parent.pid) >= 0.2
    finally:
        parent.stop()


def test_memory_counts_children(parent: Process) -> None:
    try:
        child = int(parent.log.split()[1])
        assert rss_bytes(parent.pid) > rss_bytes(child) > 0
    finally:
        parent.stop()


def test_stop_ends_children_that_the_program_left_behind(parent: Process) -> None:
    child = int(parent.log.split()[1])
    assert child in parent.tree()
    parent.stop()
    assert _state(child) in ("", "Z")
    assert _state(parent.pid) == ""


def test_what_nobody_keeps_is_ended_with_its_own_children(tmp_path: Path) -> None:
    # In a process of its own, because everything that it has started is ended.
    code = (
        "import subprocess, sys; from bench.process import descendants, end_all; import os\n"
        f"subprocess.Popen([sys.executable, '-c', {PARENT!r}], stdout=subprocess.DEVNULL)\n"
        "while len(descendants(os.getpid())) < 2: pass\n"
        "print(*descendants(os.getpid())); end_all(); print(*descendants(os.getpid()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    before, after = ran.stdout.splitlines()
    assert len(before.split()) == 2
    assert after == ""
    assert [pid for pid in before.split() if _state(int(pid)) not in ("", "Z")] == []


def test_a_signal_in_the_middle_of_a_start_comes_after_it() -> None:
    # In a process with one thread, as the harness is: the threads of pytest's workers would take the signal.
    script = """
import os, signal
from bench.process import signals_held

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with signals_held():
        os.kill(os.getpid(), signal.SIGINT)
        print("the end of the block", flush=True)
    print("never here")
except KeyboardInterrupt:
    print("interrupted")
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["the end of the block", "interrupted"]


def test_a_process_holds_no_signal_itself(parent: Process) -> None:
    try:
        held = next(line for line in Path(f"/proc/{parent.pid}/status").read_text().splitlines() if "SigBlk" in line)
        assert int(held.split()[1], 16) == 0
    finally:
        parent.stop()


def test_a_process_runs_on_its_cores(parent: Process) -> None:
    try:
        assert os.sched_getaffinity(parent.pid) == set(cores())
    finally:
        parent.stop()


def test_a_program_that_ends_at_start_says_why(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "raise SystemExit('no such port')"], tmp_path / "log", cores())
    try:
        with pytest.raises(StartError, match=r"ended with 1: no such port"):
            process.until(lambda: False, "anything", 60)
    finally:
        process.stop()


def _state(pid: int) -> str:
    """R, S, Z ... as in proc(5); empty when there is no such process."""
    try:
        return stat_fields(pid)[0]
    except OSError:
        return ""
