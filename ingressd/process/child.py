"""Child: one process under the supervisor, through all its lives, and the Backoff between two of them.

In: a role and a first message. Out: a running process with a control channel. Standard library only.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ingressd.process.channel import Channel, Message

EXIT_STARTUP = 3
"""A child that cannot start has said why in one line, and a restart would not help."""


OPENSSL_CONF = str(Path(__file__).with_name("openssl.cnf"))
"""Read by OpenSSL when a process first uses it; one that the operator has named counts instead."""

ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(16 * 1024**2),
    "MALLOC_TOP_PAD_": str(1024**2),
    "MALLOC_MMAP_THRESHOLD_": str(280 * 1024),
}
"""glibc's malloc keeps so many bytes for the next piece of a body, instead of giving a quarter of a mebibyte back to
the kernel after each: a third of what a response of 1 MiB costs was the page faults of getting it again. What is larger
than a piece, of 256 KiB at most, are tables of dicts: those go back, or the heap grew by the holes that they left. See
mallopt(3); another C library does not read them, and those that the operator has set count instead."""


class Backoff:
    """How long to wait before the next start: doubling while lives are short (uvicorn and systemd restart at once)."""

    FIRST_S = 0.1
    LIMIT_S = 10.0
    HEALTHY_S = 60.0

    def __init__(self) -> None:
        self._next_s = self.FIRST_S

    def after(self, lived_s: float) -> float:
        """Seconds to wait after a life of `lived_s` seconds."""
        if lived_s >= self.HEALTHY_S:
            self._next_s = self.FIRST_S
        delay_s = self._next_s
        self._next_s = min(delay_s * 2, self.LIMIT_S)
        return delay_s


class HasDescriptor(Protocol):
    """A socket or a file."""

    def fileno(self) -> int:
        """The number of its descriptor."""


class Child:
    """The controller, or worker `index`."""

    def __init__(self, role: str, index: int = 0) -> None:
        self.role = role
        self.index = index
        self.channel: Channel | None = None
        self.pid = 0
        """0 = not running."""
        self.was_ready = False
        """Some life of it was ready: from then on a crash is followed by a restart."""
        self.ready = False
        """This life of it has started up."""
        self.answers = False
        """It knows what a ping is; one that an earlier version of the program started may not."""
        self.asked_at: float | None = None
        """Monotonic seconds of a ping that it has not answered."""
        self.started_at = 0.0
        self.restart_at: float | None = None
        """Monotonic seconds; None = no restart is planned."""
        self._backoff = Backoff()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """As the operator reads it: `controller`, `worker 0`."""
        return self.role if self.role == "controller" else f"{self.role} {self.index}"

    def start(self, now: float, first: Message, inherited: Sequence[HasDescriptor]) -> None:
        """Exec `python -m ingressd.process.<role>` with `inherited` open and send the first message. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            numbers = [theirs.fileno(), *(each.fileno() for each in inherited)]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [*python(), f"ingressd.process.{self.role}", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=numbers,
                    env={"OPENSSL_CONF": OPENSSL_CONF, **ALLOCATOR, **os.environ},
                    # Ctrl-C reaches the terminal's whole foreground group: only the supervisor may act on it.
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        self.pid = self._process.pid
        self.started_at = now
        self.restart_at = None
        self.answers = True
        self.asked_at = None
        self.channel = Channel(ours)
        self.channel.send(first)

    def adopt(self, pid: int, channel: Channel) -> None:
        """Take over a process that this program started before it was exec'd anew."""
        self.pid = pid
        self.channel = channel
        self.ready = True

    def heard(self, kind: str) -> None:
        """It has sent a message that says something about itself."""
        if kind == "ready":
            self.ready = self.was_ready = True
        elif kind == "pong":
            self.answers = True
            self.asked_at = None

    def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> None:
        """Send to a running child; to one that is not, nothing is sent and `sockets` are closed."""
        if self.channel is not None and not self.channel.closed:
            self.channel.send(message, sockets)
        else:
            for sock in sockets:
                sock.close()

    def ended(self, wait_status: int) -> int:
        """The process was reaped. Returns its exit code; negative = killed by that signal."""
        code = os.waitstatus_to_exitcode(wait_status)
        if self._process is not None:
            # Reaped by the supervisor, which may be PID 1 and reaps everybody's: subprocess need not look for it.
            self._process.returncode = code
            self._process = None
        self.pid = 0
        self.ready = False
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        return code

    def plan_restart(self, now: float) -> float:
        """Set `restart_at`; returns the delay in seconds."""
        delay_s = self._backoff.after(now - self.started_at)
        self.restart_at = now + delay_s
        return delay_s

    def kill(self) -> None:
        """SIGKILL."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)


def python() -> list[str]:
    """This interpreter, ready for `-m MODULE`. The working directory is searched for modules only if it already is."""
    safe = sys.flags.safe_path or not sys.path or sys.path[0] not in ("", os.getcwd())
    return [sys.executable, *(["-P"] if safe else []), "-m"]


def how_it_ended(code: int) -> str:
    """`exit code 1` or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
