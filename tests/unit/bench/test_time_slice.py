"""What a thread asks of the scheduler, and what it leaves as it is. In processes of their own: it lasts."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.clients.time_slice import SLICE_S

LOOK = """
import ctypes, json, os, platform, sys
from bench.clients import time_slice
exec(sys.argv[1])
taken = time_slice.ask_for_short_slices()
number = {"x86_64": 315, "aarch64": 275}[platform.machine()]  # sched_getattr(2)
told = ctypes.create_string_buffer(time_slice._FORMAT.size)
failed = ctypes.CDLL(None).syscall(ctypes.c_long(number), ctypes.c_long(0), told, len(told), 0)
size, policy, flags, nice, priority, runtime, *_ = time_slice._FORMAT.unpack(told.raw)
print(json.dumps([taken, failed, policy, nice, runtime]))
"""


def looked(before: str = "") -> list[int]:
    """Whether it was taken, then as the kernel tells: policy, niceness, slice in ns."""
    ended = subprocess.run([sys.executable, "-c", LOOK, before], capture_output=True, text=True, check=True)
    taken, failed, *told = json.loads(ended.stdout)
    assert not failed
    return [taken, *told]


def test_the_slice_is_short_and_the_niceness_stays() -> None:
    taken, policy, nice, slice_ns = looked("os.nice(3)")
    assert (taken, policy, nice) == (True, 0, 3)
    assert slice_ns in (round(SLICE_S * 1e9), 0)  # before Linux 6.12, nobody keeps it


def test_a_thread_that_an_operator_has_put_into_another_class_stays_there() -> None:
    taken, policy, _, _ = looked("os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))")
    assert (taken, policy) == (False, 3)
