"""Samples: memory, descriptors and threads of each process, once a second, as the kernel counts them (proc(5)).

In: the pids of the program by their roles. Out: a History for each process that ever was.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

_status = re.compile(r"^(VmRSS|Threads):\s+(\d+)", re.MULTILINE)


@dataclass(slots=True)
class History:
    """One process. Seconds since the soak began."""

    role: str
    pid: int
    rss_kib: list[tuple[float, float]] = field(default_factory=list)
    descriptors: list[tuple[float, float]] = field(default_factory=list)
    threads: list[tuple[float, float]] = field(default_factory=list)

    def after(self, warm_up_s: float) -> History:
        """Without what came in the first seconds of the process."""
        if not self.rss_kib:
            return self
        start = self.rss_kib[0][0] + warm_up_s
        cut = [[each for each in series if each[0] >= start] for series in self._all]
        return History(self.role, self.pid, *cut)

    @property
    def _all(self) -> tuple[list[tuple[float, float]], ...]:
        return self.rss_kib, self.descriptors, self.threads


class Sampler:
    """Call `look` once a second."""

    def __init__(self) -> None:
        self.histories: dict[int, History] = {}

    def csv(self) -> str:
        """Everything that was measured."""
        lines = ["role,pid,second,rss_kib,descriptors,threads"]
        for each in self.histories.values():
            for (at, rss), (_, descriptors), (_, threads) in zip(
                each.rss_kib, each.descriptors, each.threads, strict=True
            ):
                lines.append(f"{each.role},{each.pid},{at:.0f},{rss:.0f},{descriptors:.0f},{threads:.0f}")
        return "\n".join((*lines, ""))

    def look(self, at: float, roles: dict[int, str]) -> None:
        """Measure the processes of `roles`; one that is gone is left out."""
        for pid, role in roles.items():
            try:
                found = dict(_status.findall(Path(f"/proc/{pid}/status").read_text()))
                descriptors = descriptors_of(pid)
            except OSError:
                continue
            if "VmRSS" not in found:
                continue  # it has ended, and nobody has waited for it yet
            history = self.histories.setdefault(pid, History(role, pid))
            history.rss_kib.append((at, float(found["VmRSS"])))
            history.descriptors.append((at, float(descriptors)))
            history.threads.append((at, float(found["Threads"])))


def descriptors_of(pid: int) -> int:
    """How many a process has open. Raises OSError."""
    return len(os.listdir(f"/proc/{pid}/fd"))
