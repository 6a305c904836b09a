"""Process: one child of the harness, pinned to cores, that cannot outlive it.

In: a command and cores. Out: a running process whose output is kept in a file. Everything that is started here is
ended here: by signal, then by force, by PID.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ADDRESS = "127.0.0.1"
STOP_S = 10.0
"""What a process gets to end by itself."""
POLL_S = 0.005
"""Between two looks; asking more often would be a load of its own."""
_HELD = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
_LOG_TAIL_CHARS = 600
_BIRTH_FIELD = 19
"""Of what stat_fields returns: starttime, field 22 of proc(5)."""

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """SIGINT and SIGTERM come after the block: what they raise within a fork is lost in Python's hooks around it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def before_exec(cores: Sequence[int]) -> None:
    """What a child does before it becomes its program: it stays on `cores`, and ends should the harness be killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    os.sched_setaffinity(0, cores)
    # By SIGTERM, so that it ends its own children too.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class StartError(Exception):
    """A program did not come up; the text says why in one line."""


class Process:
    """A running program and everything that it starts."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        cores: Sequence[int],
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._log = log
        self.command = command
        self.started_at = time.monotonic()
        # Appended to, as every access log is: the harness empties the file between two measurements.
        with log.open("ab") as file, signals_held():
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **(environ or {})},
                cwd=cwd,
                preexec_fn=lambda: before_exec(cores),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def tree(self) -> list[int]:
        """The PIDs of the process and of all its descendants."""
        return [self.pid, *descendants(self.pid)]

    def signal(self, number: int) -> None:
        """Send a signal to the process itself."""
        self._process.send_signal(number)

    def check(self) -> None:
        """Raises StartError if it has ended."""
        if (code := self._process.poll()) is not None:
            raise StartError(f"{Path(self.command[0]).name} ended with {code}: {one_line(self.log)}")

    def until(self, condition: Callable[[], bool], what: str, patience_s: float) -> float:
        """Wait for `condition`; a refused connection is `not yet`. Returns seconds since the start."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError):
                if condition():
                    return time.monotonic() - self.started_at
            time.sleep(POLL_S)
        raise StartError(f"no {what} within {patience_s:g} s: {one_line(self.log)}")

    def finish(self, patience_s: float) -> None:
        """Wait for its good end. Raises StartError."""
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise StartError(f"{Path(self.command[0]).name}: no end within {patience_s:g} s") from None
        finally:
            self.stop()
        if code:
            raise StartError(f"{Path(self.command[0]).name} ended with {code}: {one_line(self.log)}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to whatever is left of it and of its descendants."""
        family = {pid: _born(pid) for pid in self.tree()}
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        if self._process.poll() is None:
            family |= {pid: _born(pid) for pid in self.tree()}
            self._process.kill()
            self._process.wait()
        # A PID that was given to somebody else meanwhile has another birth.
        left = {pid: born for pid, born in family.items() if pid != self.pid and _lives(pid, born)}
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid, born in left.items():
            while _lives(pid, born):
                time.sleep(POLL_S)


def end_all() -> None:
    """Kill what this process has started and nobody has ended: caught between its start and its keeper."""
    while left := descendants(os.getpid()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(POLL_S)


def _born(pid: int) -> str:
    """When a process was started, in ticks since boot; empty when it is gone."""
    try:
        return stat_fields(pid)[_BIRTH_FIELD]
    except OSError:
        return ""


def _lives(pid: int, born: str) -> bool:
    """Whether that very process still runs: neither gone, nor ended and not yet waited for."""
    try:
        fields = stat_fields(pid)
    except OSError:
        return False
    return fields[_BIRTH_FIELD] == born and fields[0] != "Z"


def parents() -> dict[int, int]:
    """PID to parent PID, of everything that runs."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                found[int(name)] = int(stat_fields(int(name))[1])
    return found


def descendants(pid: int) -> list[int]:
    """Children, grandchildren and so on, parents first."""
    children: dict[int, list[int]] = {}
    for child, parent in parents().items():
        children.setdefault(parent, []).append(child)
    found, queue = [], list(children.get(pid, ()))
    while queue:
        one = queue.pop(0)
        found.append(one)
        queue += children.get(one, ())
    return found


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from the third field on (state, parent ...): the second may hold spaces. Raises OSError."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has right now."""
    with socket.socket() as sock:
        sock.bind((ADDRESS, 0))
        port: int = sock.getsockname()[1]
    return port


def one_line(text: str) -> str:
    """The end of a log, for an error message."""
    return " | ".join(line.strip() for line in text.strip().splitlines()[-6:])[-_LOG_TAIL_CHARS:] or "it said nothing"
