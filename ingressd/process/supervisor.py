"""The supervisor: opens the sockets, starts, restarts, replaces and drains the other processes. May be PID 1.

In: settings, signals, the ends of children. Out: listening sockets that outlive every child, and an exit code.
It never knows what a route is: standard library only, so that what must never fail stays small.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Nothing that an import makes is garbage, and looking for some is a fifth of the start: see collector.resume.
    gc.disable()

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum, auto
from types import FrameType
from typing import NoReturn

from ingressd.collector import resume
from ingressd.errors import StartupError
from ingressd.observe import program_log
from ingressd.process import handover, privilege
from ingressd.process.channel import ChannelError, Message
from ingressd.process.child import EXIT_STARTUP, Child, how_it_ended
from ingressd.process.crew import DRAIN_GRACE_S, STOP_S, Crew, new_crew
from ingressd.process.handover import Plan
from ingressd.process.pid_file import PidFile
from ingressd.process.successor import SIGNALS, Successor, answer_trial, become
from ingressd.settings import Settings

_log = logging.getLogger("ingressd.supervisor")


class State(Enum):
    """Where the program is in its life; it only moves forward."""

    RUNNING = auto()
    DRAINING = auto()
    STOPPING = auto()


class Supervisor:
    """One crew, or two during an upgrade, and the loop that looks after them."""

    def __init__(self, command: tuple[str, ...], crew: Crew, former: Crew | None) -> None:
        """`former` serves until `crew` is ready, or goes on when that fails."""
        self._successor = Successor(command)
        self._crew = crew
        self._former = former
        self._leaving: Crew | None = None
        """Told to end, while another one serves."""
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
            for number in SIGNALS:
                signal.signal(number, self._note_signal)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._selector.register(woken, selectors.EVENT_READ)
            _log.info("listening on %s with %d workers", self._crew.listeners, len(self._crew.workers))
            self._start_missing()
            while self._state is State.RUNNING or self._successor.pid or any(crew.running for crew in self._crews):
                self._turn(woken)
        for crew in self._crews:
            crew.listeners.close()
        PidFile(self._crew.asked.pid_file).remove()
        _log.info("stopped")
        return self._exit_code

    @property
    def _crews(self) -> list[Crew]:
        return [crew for crew in (self._crew, self._former, self._leaving) if crew is not None]

    def _turn(self, woken: socket.socket) -> None:
        self._watch()
        for key, _events in self._selector.select(self._sleep_s()):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
            else:
                self._hear(*key.data)
        while self._signals:
            self._act_on(self._signals.popleft())
        self._reap()
        now = time.monotonic()
        if self._state is State.RUNNING:
            for child in self._crew.children:
                if child.restart_at is not None and child.restart_at <= now:
                    self._start(child)
            self._crew.end_hung(now)
            self._successor.step(self._crew, now, self._signals)
            self._relieve(now)
        elif self._deadline is not None and self._deadline <= now:
            self._deadline = None
            for crew in self._crews:
                crew.kill()
        elif self._state is State.DRAINING and not any(worker.pid for crew in self._crews for worker in crew.workers):
            self._stop()

    def _sleep_s(self) -> float | None:
        times = [each for each in self._times() if each is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _times(self) -> Iterator[float | None]:
        """When there is something to do without any news."""
        if self._state is not State.RUNNING:
            yield self._deadline
            return
        for child in self._crew.children:
            yield child.restart_at
        yield self._crew.pulse.next_at
        yield self._crew.deadline if self._former else None
        yield self._leaving.deadline if self._leaving else None
        yield self._successor.look_again_s(time.monotonic())

    # Children: their beginning, their words, their end.

    def _start_missing(self) -> None:
        crew = self._crew
        for child in crew.children:
            # One that cannot be started ends the program, or brings the former crew back.
            if self._state is State.RUNNING and crew is self._crew and not child.pid:
                self._start(child)

    def _start(self, child: Child) -> None:
        try:
            self._crew.start(child, time.monotonic())
        except OSError as problem:
            self._lost(child, f"it could not be started: {problem.strerror}")

    def _watch(self) -> None:
        """Read from every channel, and write where something waits."""
        known = self._selector.get_map()
        for crew in self._crews:
            for child in crew.children:
                channel = child.channel
                if channel is None or channel.closed:
                    continue
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.wants_write else 0)
                if channel.fileno() not in known:
                    self._selector.register(channel.fileno(), events, (crew, child))
                elif known[channel.fileno()].events != events:
                    self._selector.modify(channel.fileno(), events, (crew, child))

    def _unwatch(self, child: Child) -> None:
        if child.channel is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.channel.fileno())

    def _hear(self, crew: Crew, child: Child) -> None:
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
            child.heard(one.message["type"])
            if one.message["type"] == "progress":
                crew.progress = {key: one.message[key] for key in crew.progress}
        if channel.closed:
            self._unwatch(child)

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._successor.pid:
                self._successor.tried(wait_status)
            for crew in self._crews:
                for child in crew.children:
                    if child.pid == pid:
                        self._hear(crew, child)
                        self._unwatch(child)
                        self._ended(crew, child, child.ended(wait_status))

    def _ended(self, crew: Crew, child: Child, code: int) -> None:
        why = how_it_ended(code)
        if self._state is not State.RUNNING or crew is self._leaving:
            _log.debug("%s ended: %s", child.name, why)
        elif crew is self._former:
            _log.error("%s ended: %s; the new version takes its place", child.name, why)
        elif self._former is None and code == EXIT_STARTUP and not child.was_ready:
            self._fail()
        else:
            self._lost(child, why)

    def _lost(self, child: Child, why: str) -> None:
        if self._former is not None:
            self._give_up(f"the {child.name} failed: {why}")
        elif child.was_ready:
            delay_s = child.plan_restart(time.monotonic())
            _log.error("%s ended: %s; starting it again in %.1f s", child.name, why, delay_s)
        else:
            _say(f"the {child.name} failed at start: {why}")
            self._fail()

    # An upgrade: exec in place, then two crews for a while. See docs/decisions/0013-upgrade-in-place.md.

    def _relieve(self, now: float) -> None:
        """Let the new crew take the place of the former one, or give it up."""
        crew, former, leaving = self._crew, self._former, self._leaving
        if former is not None and crew.ready:
            crew.take_over(former)
            former.retire(now)
            self._replaced(former, by=crew)
            _log.info("the new version serves; the old processes drain")
        elif former is not None and crew.deadline is not None and crew.deadline <= now:
            self._give_up(f"it was not ready within {crew.settings.upgrade_timeout_s:g} s")
        elif leaving is not None and not leaving.running:
            self._leaving = None
            _log.info("the upgrade is over: the processes of one version are left")
        elif leaving is not None and leaving.deadline is not None and leaving.deadline <= now:
            leaving.kill()

    def _replaced(self, crew: Crew, by: Crew) -> None:
        crew.listeners.close_beside(by.listeners)
        if crew.asked.pid_file != by.asked.pid_file:
            PidFile(crew.asked.pid_file).remove()
        self._crew, self._former, self._leaving = by, None, crew

    def _give_up(self, why: str) -> None:
        """Stop the crew that failed; the former one goes on."""
        failed, former = self._crew, self._former
        if former is None:
            return
        _log.error("the upgrade was given up: %s; the old version goes on", why)
        failed.tell({"type": "stop"})
        failed.deadline = time.monotonic() + STOP_S
        self._replaced(failed, by=former)
        self._start_missing()

    # The program's end.

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _act_on(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._state is State.RUNNING:
                timeout_s = self._crew.settings.drain_timeout_s
                _log.info("%s: draining for at most %g s", signal.Signals(number).name, timeout_s)
                self._drain()
            else:
                _log.info("%s again: stopping now", signal.Signals(number).name)
                self._stop()
        elif number == signal.SIGHUP:
            for crew in self._crews:
                crew.controller.send({"type": "reload"})
                crew.tell_workers({"type": "reopen"})
        elif number == signal.SIGUSR1:
            for crew in self._crews:
                crew.tell_workers({"type": "reopen"})
        elif number == signal.SIGUSR2 and self._state is State.RUNNING:
            self._succeed()

    def _succeed(self) -> None:
        if self._successor.on_its_way or self._former or self._leaving:
            _log.warning("SIGUSR2: an upgrade is under way already")
        elif not self._crew.ready:
            _log.warning("SIGUSR2: not yet, the program is still starting")
        else:
            _log.info("SIGUSR2: trying the new version")
            self._successor.start(self._crew, time.monotonic())

    def _drain(self) -> None:
        self._state = State.DRAINING
        self._deadline = time.monotonic() + self._crew.settings.drain_timeout_s + DRAIN_GRACE_S
        self._end({"type": "drain"})

    def _stop(self) -> None:
        if self._state is not State.STOPPING:
            self._state = State.STOPPING
            self._deadline = time.monotonic() + STOP_S
            self._end({"type": "stop"})

    def _end(self, order: Message) -> None:
        self._successor.kill()
        for crew in self._crews:
            crew.listeners.close_data()
            crew.tell(order)

    def _fail(self) -> None:
        self._exit_code = 1
        self._stop()


def exec_supervisor(settings: Settings) -> NoReturn:
    """Become the supervisor: same PID, settings through a memory file, so that no secret or path shows up in ps.

    In the trial of an upgrade: only say that it could be done.
    """
    plan = Plan(settings, tuple(sys.argv[1:]))
    if answer_trial(os.environ, plan):
        sys.exit(0)
    number = handover.memory_file("ingressd-plan")
    plan.save(number)
    os.set_inheritable(number, True)
    become(number)


def main(arguments: list[str]) -> int:
    """`python -m ingressd.process.supervisor PLAN [HANDOVER]`, descriptors of memory files. Returns the exit code."""
    resume()
    plan = Plan.load(int(arguments[0]))
    settings = replace(plan.settings, workers=plan.settings.workers or len(os.sched_getaffinity(0)))
    program_log.configure(settings.log_level, settings.log_format)
    privilege.limit()
    former = handover.adopt_crew(handover.read(int(arguments[1]))) if len(arguments) > 1 else None
    try:
        crew = new_crew(settings, former)
    except StartupError as problem:
        if former is None:
            _say(str(problem))
            return 1
        _log.error("the upgrade was given up: %s; the old version goes on", problem)
        crew, former = former, None
    return Supervisor(plan.command, crew, former).run()


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"ingressd: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
