"""PidFile: the supervisor's process id, in a file, for whoever sends it a signal.

In: a path. Out: a file while the program runs; and whether a process id is a supervisor's at all, because a stale
number may be anybody's by now. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ingressd.errors import StartupError
from ingressd.process.privilege import Account, give

MODULE = "ingressd.process.supervisor"
_MODE = 0o644


class PidFile:
    """Written at the start, removed at the end."""

    def __init__(self, path: str) -> None:
        """An empty path is no file."""
        self.path = path

    def write(self, account: Account | None) -> None:
        """Write our own id. With an account the file becomes its own. Raises StartupError."""
        if not self.path:
            return
        other = read_pid(self.path)
        if other not in (0, os.getpid()) and is_supervisor(other):
            raise StartupError(f"the PID file {self.path} is that of another ingressd, which runs as process {other}")
        try:
            # In place: whoever we are going to be may not make files in the folder, /run as a rule.
            number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
            try:
                os.ftruncate(number, 0)
                os.write(number, b"%d\n" % os.getpid())
                if account is not None and os.geteuid() == 0:
                    give(number, account)
            finally:
                os.close(number)
        except OSError as problem:
            raise StartupError(f"cannot write the PID file {self.path}: {problem.strerror}") from problem

    def remove(self) -> None:
        """Remove it, or empty it where it may not be removed."""
        if self.path and read_pid(self.path) == os.getpid():
            try:
                os.unlink(self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, 0)


def read_pid(path: str) -> int:
    """The process id in a file; 0 when there is none."""
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdecimal() else 0


def is_supervisor(pid: int) -> bool:
    """Whether this process is a supervisor of ours."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return MODULE.encode() in arguments
