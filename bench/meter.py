"""Meter: what a family of processes has cost so far, read from /proc.

In: the PID of a proxy's first process. Out: CPU seconds of all its processes, dead ones included, and memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from bench.process import descendants, stat_fields

REST_S = 0.1
REST_SHARE = 0.2
"""Of a core; less is timers and housekeeping. A tick of the clock is a tenth of the span."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Positions in what stat_fields returns: utime, stime, cutime, cstime are fields 14 to 17 of proc(5).
_CPU_FIELDS = slice(11, 15)


def cpu_s(pid: int) -> float:
    """User and system seconds of `pid` and all its descendants.

    Each process counts with its own time and with that of the children it has waited for, so that a worker which ended
    in a reload is not lost: its time moved to its parent.
    """
    ticks = 0
    for one in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, stat_fields(one)[_CPU_FIELDS]))
    return ticks / _TICKS_PER_S


def until_at_rest(pid: int, patience_s: float) -> None:
    """Wait until it works no more: a slow proxy still has the last requests of the warm-up in its hands."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        before_s = cpu_s(pid)
        time.sleep(REST_S)
        if cpu_s(pid) - before_s <= REST_S * REST_SHARE:
            return


def rss_bytes(pid: int) -> int:
    """Resident memory of `pid` and all its descendants; pages that they share count once for each."""
    return sum(_rss_of(one) for one in [pid, *descendants(pid)])


def rss_by_role(pid: int) -> dict[str, int]:
    """Resident memory of each of ingressd's processes by its role; the largest where there are several."""
    found: dict[str, int] = {}
    for one in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if role := re.search(r"ingressd\.process\.(\w+)", command):
                found[role[1]] = max(found.get(role[1], 0), _rss_of(one))
    return found


def _rss_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
