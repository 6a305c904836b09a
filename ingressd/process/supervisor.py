"""The supervisor: opens the sockets, starts, restarts, links and drains the other processes. May be PID 1.

In: settings, signals, the ends of children. Out: listening sockets that outlive every child, and an exit code.
It never knows what a route is: standard library only, so that what must never fail stays small.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import replace
from enum import Enum, auto
from types import FrameType
from typing import NoReturn

from ingressd.errors import StartupError
from ingressd.observe import program_log
from ingressd.process.channel import ChannelError, Message
from ingressd.process.child import EXIT_STARTUP, Child, how_it_ended, python
from ingressd.process.listeners import Listeners, adopt, open_listeners
from ingressd.settings import Settings

DRAIN_GRACE_S = 2.0
"""What a draining child gets beyond the drain timeout to close and exit by itself."""
STOP_S = 2.0
"""What a child gets to exit when it is told to stop now."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
_log = logging.getLogger("ingressd.supervisor")


class State(Enum):
    """Where the program is in its life; it only moves forward."""

    RUNNING = auto()
    DRAINING = auto()
    STOPPING = auto()


class Supervisor:
    """One controller, `settings.workers` workers, and the loop that looks after them."""

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self._settings = listeners.resolved(settings)
        self._listeners = listeners
        self._controller = Child("controller")
        self._workers = [Child("worker", index) for index in range(settings.workers)]
        self._children = [self._controller, *self._workers]
        self._progress: Message = {"generation": 0, "snapshot": 0}
        """What the controller reported last: the next one goes on counting from there."""
        self._state = State.RUNNING
        self._deadline: float | None = None
        """Monotonic seconds after which whoever is left is killed."""
        self._exit_code = 0
        self._signals: deque[int] = deque()
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Run until everything has ended. Returns the program's exit code."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        with woken, waker:
            signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            for number in _SIGNALS:
                signal.signal(number, self._note_signal)
            self._selector.register(woken, selectors.EVENT_READ)
            _log.info("listening on %s with %d workers", self._listeners, len(self._workers))
            for child in self._children:
                if self._state is State.RUNNING:
                    self._start(child)
            while self._state is State.RUNNING or any(child.pid for child in self._children):
                self._turn(woken)
        self._listeners.close()
        _log.info("stopped")
        return self._exit_code

    def _turn(self, woken: socket.socket) -> None:
        for key, _events in self._selector.select(self._sleep_s()):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
            else:
                self._hear(key.data)
        while self._signals:
            self._act_on(self._signals.popleft())
        self._reap()
        now = time.monotonic()
        if self._state is State.RUNNING:
            for child in self._children:
                if child.restart_at is not None and child.restart_at <= now:
                    self._start(child)
        elif self._deadline is not None and self._deadline <= now:
            self._kill_rest()
        elif self._state is State.DRAINING and not any(worker.pid for worker in self._workers):
            self._stop()

    def _sleep_s(self) -> float | None:
        times = [child.restart_at for child in self._children if child.restart_at is not None]
        if self._state is not State.RUNNING:
            times = [self._deadline] if self._deadline is not None else []
        return max(0.0, min(times) - time.monotonic()) if times else None

    # Children: their beginning, their words, their end.

    def _start(self, child: Child) -> None:
        listeners, settings = self._listeners, self._settings
        first: Message = {"type": "start", "settings": settings.to_json(), "index": child.index}
        if child is self._controller:
            inherited = [listeners.admin] if listeners.admin else []
            first |= {"admin": [sock.fileno() for sock in inherited], "supervisor_pid": os.getpid(), **self._progress}
        else:
            http = listeners.share(listeners.http, child.index, settings.workers)
            https = listeners.share(listeners.https, child.index, settings.workers)
            inherited = [*http, *https]
            # Who carries strangers' requests need not know what opens the admin port.
            first["settings"] = replace(settings, admin_token="").to_json()
            first |= {"http": [sock.fileno() for sock in http], "https": [sock.fileno() for sock in https]}
        try:
            child.start(time.monotonic(), first, inherited)
        except OSError as problem:
            self._lost(child, f"it could not be started: {problem.strerror}")
            return
        self._watch(child)
        for worker in self._workers if child is self._controller else [child]:
            if worker.pid and self._controller.pid:
                self._link(worker)

    def _link(self, worker: Child) -> None:
        for_controller, for_worker = socket.socketpair()
        self._controller.send({"type": "link", "worker": worker.index, "pid": worker.pid}, [for_controller])
        worker.send({"type": "link"}, [for_worker])
        self._watch(self._controller)
        self._watch(worker)

    def _watch(self, child: Child) -> None:
        channel = child.channel
        if channel is None or channel.closed:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.wants_write else 0)
        if channel.fileno() in self._selector.get_map():
            self._selector.modify(channel.fileno(), events, child)
        else:
            self._selector.register(channel.fileno(), events, child)

    def _unwatch(self, child: Child) -> None:
        if child.channel is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.channel.fileno())

    def _hear(self, child: Child) -> None:
        channel = child.channel
        if channel is None:
            return
        channel.flush()
        try:
            received = channel.receive()
        except ChannelError as problem:
            _log.error("%s: %s", child.name, problem)
            child.kill()
            received = []
        for one in received:
            if one.message["type"] == "ready":
                child.was_ready = True
            elif one.message["type"] == "progress":
                self._progress = {key: one.message[key] for key in self._progress}
        if channel.closed:
            self._unwatch(child)
        else:
            self._watch(child)

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._hear(child)
                    self._unwatch(child)
                    code = child.ended(wait_status)
                    self._ended(child, code)

    def _ended(self, child: Child, code: int) -> None:
        if self._state is not State.RUNNING:
            _log.debug("%s ended: %s", child.name, how_it_ended(code))
        elif code == EXIT_STARTUP and not child.was_ready:
            self._fail()
        else:
            self._lost(child, how_it_ended(code))

    def _lost(self, child: Child, why: str) -> None:
        if child.was_ready:
            delay_s = child.plan_restart(time.monotonic())
            _log.error("%s ended: %s; starting it again in %.1f s", child.name, why, delay_s)
        else:
            _say(f"the {child.name} failed at start: {why}")
            self._fail()

    # The program's end.

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _act_on(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._state is State.RUNNING:
                _log.info("%s: draining for at most %g s", signal.Signals(number).name, self._settings.drain_timeout_s)
                self._drain()
            else:
                _log.info("%s again: stopping now", signal.Signals(number).name)
                self._stop()
        elif number == signal.SIGHUP:
            self._tell([self._controller], {"type": "reload"})
            self._tell(self._workers, {"type": "reopen"})
        elif number == signal.SIGUSR1:
            self._tell(self._workers, {"type": "reopen"})

    def _drain(self) -> None:
        self._state = State.DRAINING
        self._deadline = time.monotonic() + self._settings.drain_timeout_s + DRAIN_GRACE_S
        self._listeners.close_data()
        self._tell(self._children, {"type": "drain"})

    def _stop(self) -> None:
        if self._state is not State.STOPPING:
            self._state = State.STOPPING
            self._deadline = time.monotonic() + STOP_S
            self._listeners.close_data()
            self._tell(self._children, {"type": "stop"})

    def _fail(self) -> None:
        self._exit_code = 1
        self._stop()

    def _kill_rest(self) -> None:
        self._deadline = None
        for child in self._children:
            if child.pid:
                _log.warning("%s did not end in time: killed", child.name)
                child.kill()

    def _tell(self, children: list[Child], message: Message) -> None:
        for child in children:
            child.send(message)
            self._watch(child)


def exec_supervisor(settings: Settings) -> NoReturn:
    """Become the supervisor: same PID, settings through a memory file, so that no secret or path shows up in ps."""
    number = os.memfd_create("ingressd-settings", 0)
    with open(number, "wb", closefd=False) as file:
        file.write(settings.to_json().encode())
    os.lseek(number, 0, os.SEEK_SET)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*python(), "ingressd.process.supervisor", str(number)])  # noqa: S606


def main(arguments: list[str]) -> int:
    """`python -m ingressd.process.supervisor FD`: FD is a file of settings as JSON. Returns the exit code."""
    with open(int(arguments[0]), encoding="utf-8") as file:
        settings = Settings.from_json(file.read())
    settings = replace(settings, workers=settings.workers or len(os.sched_getaffinity(0)))
    program_log.configure(settings.log_level, settings.log_format)
    _raise_file_limit()
    try:
        listeners = open_listeners(settings, adopt(os.environ, settings, os.getpid()))
    except StartupError as problem:
        _say(str(problem))
        return 1
    return Supervisor(settings, listeners).run()


def _raise_file_limit() -> None:
    """Every connection is a descriptor or two: take all that we may have (Go does the same at start)."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"ingressd: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
