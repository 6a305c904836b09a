"""How much memory processes have held at most, as the kernel counts it (proc(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
_FORGET_PEAK = "5"


class Growth:
    """The peak of each process since `Growth` was made, against what it held then."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._before = {}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text(_FORGET_PEAK)
            self._before[pid] = _bytes(pid, "VmRSS")

    @property
    def bytes(self) -> int:
        """Of the process that grew most."""
        return max(_bytes(pid, "VmHWM") - before for pid, before in self._before.items())


def _bytes(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, f"/proc/{pid}/status has no {name}"
    return int(found[1]) * KIB
