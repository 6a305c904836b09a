"""Time slice: a client's share of a core in short turns, so that it need not wait for those of others to end.

In: nothing. Out: a word to Linux' scheduler for this thread (sched_setattr(2)). Measured: beside the harness, which
asks again and again whether an edit is served, the p99 of a paced client was 4.1 ms without it and 3.1 with it (medians
of six series each, in turn).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

SLICE_S = 0.0001
"""The least that the kernel takes. Who asks for less at a time than another is let in as soon as something has come for
him; how much he gets altogether does not change (EEVDF: Linux 6.12 and later; before, nothing does)."""

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""Numbers of the system call, which neither Python nor, until lately, glibc has a function for."""

_FORMAT = struct.Struct("=IIQiIQQQ")
"""struct sched_attr, version 0: size, policy, flags, nice, priority, runtime, deadline, period; times in ns."""


def ask_for_short_slices() -> bool:
    """Ask for SLICE_S. Returns whether the kernel took it; where it does not, nothing changes."""
    call = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or call is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wish = _FORMAT.pack(_FORMAT.size, os.SCHED_OTHER, 0, nice, 0, round(SLICE_S * 1e9), 0, 0)
    syscall = ctypes.CDLL(None).syscall
    return int(syscall(ctypes.c_long(call), ctypes.c_long(0), wish, ctypes.c_long(0))) == 0
