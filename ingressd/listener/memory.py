"""Memory: how much of what this process may use is in use, by all that share it.

In: the files of its control groups, and of the host. Out: a share from 0 to 1. What the kernel gives back when it is
asked to (the cache of files that nobody uses) does not count as used.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

_WORTH_A_LOOK = 0.5  # below it memory.stat, which costs the kernel most, is not read


class _Bound(NamedTuple):
    """One limit that holds for this process."""

    limit: Path
    used: Path
    stat: Path
    cache_field: str
    """The line of `stat` with the cache that can be given back at once."""


class Memory:
    """Looks at the limits of the control group and of those around it, or at the host when none of them has one."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._bounds = tuple(_bounds(root))
        self._host = root / "proc/meminfo"

    def share(self) -> float:
        """The highest share of all limits; 0 when nothing is known."""
        meminfo = _text(self._host)
        total = _field(meminfo, "MemTotal:") * 1024
        shares = [share for bound in self._bounds if (share := _share(bound, total)) is not None]
        if shares:
            return max(shares)
        return 1.0 - _field(meminfo, "MemAvailable:") * 1024 / total if total else 0.0


def _bounds(root: Path) -> list[_Bound]:
    """The groups that have a limit file now, from the process's own to the outermost."""
    groups = root / "sys/fs/cgroup"
    bounds = []
    for path in _paths(root, "0::"):
        folder = groups / path
        bounds.append(_Bound(folder / "memory.max", folder / "memory.current", folder / "memory.stat", "inactive_file"))
    for path in _paths(root, ":memory:"):
        folder = groups / "memory" / path
        bounds.append(
            _Bound(
                folder / "memory.limit_in_bytes",
                folder / "memory.usage_in_bytes",
                folder / "memory.stat",
                "total_inactive_file",
            )
        )
    return [bound for bound in bounds if bound.limit.exists()]


def _paths(root: Path, mark: str) -> list[str]:
    """The path of this process's group in the hierarchy that `mark` names, and those around it (cgroups(7))."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, found, path = line.partition(mark)
        if found:
            relative = PurePosixPath(path.lstrip("/"))
            # A container sees its own group at the top, whatever path is written here.
            return [str(each) for each in (relative, *relative.parents) if ".." not in each.parts]
    return []


def _share(bound: _Bound, total: int) -> float | None:
    """None: no limit is set, or none below the host's memory."""
    limit, used = _text(bound.limit).strip(), _text(bound.used).strip()
    if not (limit.isdecimal() and used.isdecimal() and 0 < int(limit) < (total or int(limit) + 1)):
        return None
    share = int(used) / int(limit)
    if share < _WORTH_A_LOOK:
        return share
    return max(0, int(used) - _field(_text(bound.stat), bound.cache_field)) / int(limit)


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
