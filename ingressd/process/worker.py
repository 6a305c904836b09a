"""A worker: the data plane in a process of its own.

In: listening sockets from the supervisor, snapshots from the controller. Out: traffic, acknowledgements, counters.
It never reads a manifest; without a controller it serves what it has (fail static).
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Nothing that an import makes is garbage, and looking for some is a fifth of the start: see collector.resume.
    gc.disable()

import asyncio
import contextlib
import logging
import pickle
import signal
import socket
import sys
from collections.abc import Mapping

from ingressd.collector import paused, settle
from ingressd.errors import StartupError
from ingressd.filters import plugins
from ingressd.filters.buckets import shared_with
from ingressd.listener.edge import Edge
from ingressd.observe import program_log
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stats import WorkerStats
from ingressd.process.channel import Channel, Received
from ingressd.process.control import Control, Start, begin
from ingressd.process.heap import keep_trimmed
from ingressd.process.link import Ask, Begin, End, Export, Link, LinkClosed, Part, Refused, Served, Unbound
from ingressd.process.loop import run
from ingressd.process.transfer import Assembly, differs
from ingressd.table.snapshot import Snapshot

RETIRE_IDLE_S = 5.0
"""What an idle connection gets to carry one more request, when other workers accept on the same sockets already."""

CONTROLLER_ENDS_S = 1.5
"""How long a worker that is replaced waits for its controller to end first, which would say that no worker serves."""

_log = logging.getLogger("ingressd.worker")


class Worker:
    """One worker, from its start order to its drain."""

    def __init__(self, start: Start, channel: Channel) -> None:
        self._settings = start.settings
        self._sockets = {
            "http": [socket.socket(fileno=number) for number in start.http],
            "https": [socket.socket(fileno=number) for number in start.https],
        }
        self._snapshot = Snapshot()
        self._accepting = False
        self._stats = WorkerStats()
        plugins.load(self._settings.plugins)
        try:
            self._access_log = AccessLog(self._settings.access_log, self._settings.access_log_format)
        except OSError as problem:
            raise StartupError(f"cannot write the access log {problem.filename}: {problem.strerror}") from problem
        shared = shared_with(start.limits[0], self._settings.workers, start.index) if start.limits else None
        self._edge = Edge(self._settings, self._stats, self._access_log, self._report_ports, shared)
        self._links: set[asyncio.Task[None]] = set()
        self._reports: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self._ending: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """Resolved when this worker shall end: the time that requests in flight get."""
        self._idle_s = 0.0
        """How much of it idle connections get."""
        self._now = asyncio.Event()
        """Set when it shall end without waiting for anybody."""
        self._control = Control(channel, self._ordered, self._orphaned)

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit code."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._drain)
        trimming = asyncio.create_task(keep_trimmed())
        timeout_s = await self._ending
        trimming.cancel()
        await self._finish(timeout_s)
        await self._edge.release()
        with contextlib.suppress(LinkClosed):
            if self._link is not None:
                await self._link.send(self._export())
        if self._idle_s and self._links:
            await asyncio.wait(self._links, timeout=CONTROLLER_ENDS_S)
        for task in tuple(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        self._control.close()
        self._access_log.close()
        return 0

    # Orders of the supervisor.

    def _ordered(self, received: Received) -> None:
        match received.message["type"]:
            case "link":
                self._attach(received.sockets[0])
            case "drain":
                self._drain()
            case "retire":
                self._idle_s = RETIRE_IDLE_S
                self._drain()
            case "stop":
                self._stop()
            case "reopen":
                self._reopen()

    def _orphaned(self) -> None:
        _log.warning("the supervisor is gone: draining")
        self._drain()

    def _drain(self) -> None:
        if not self._ending.done():
            self._ending.set_result(self._settings.drain_timeout_s)

    def _stop(self) -> None:
        self._now.set()
        self._drain()

    def _reopen(self) -> None:
        try:
            self._access_log.reopen()
        except OSError as problem:
            _log.error("cannot reopen the access log %s: %s", problem.filename, problem.strerror)

    async def _finish(self, timeout_s: float) -> None:
        """Drain the edge for `timeout_s`, or until told to stop now."""
        if not self._accepting:
            return
        draining = asyncio.ensure_future(self._drain_edge(timeout_s))
        hurrying = asyncio.ensure_future(self._now.wait())
        await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not draining.done():
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            self._edge.close()
        else:
            draining.result()

    async def _drain_edge(self, timeout_s: float) -> None:
        idle_s = min(self._idle_s, timeout_s)
        if idle_s:
            await self._edge.retire(idle_s)
        await self._edge.drain(timeout_s - idle_s)

    # Snapshots of the controller.

    def _attach(self, sock: socket.socket) -> None:
        task = asyncio.get_running_loop().create_task(self._listen(sock))
        self._links.add(task)
        task.add_done_callback(self._detached)

    def _detached(self, task: asyncio.Task[None]) -> None:
        self._links.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None and not self._ending.done():
            self._ending.set_exception(problem)

    async def _listen(self, sock: socket.socket) -> None:
        link = self._link = await Link.open(sock)
        assembly: Assembly | None = None
        uncollected = contextlib.ExitStack()
        try:
            while True:
                message = await link.receive()
                match message:
                    case Begin():
                        assembly = await self._assembly(link, message)
                        if assembly is not None:
                            uncollected.enter_context(paused(freeze=True))
                    case Part() if assembly is not None:
                        assembly.add(message)
                        # What is in the buffer is received without waiting: requests get their turn all the same.
                        await asyncio.sleep(0)
                    case End() if assembly is not None:
                        answer, unbound = await self._serve(assembly)
                        await link.send(Unbound(unbound))
                        await link.send(answer)
                        assembly = None
                        uncollected.close()
                    case Ask():
                        await link.send(self._export())
        except LinkClosed:
            return
        except (pickle.UnpicklingError, AttributeError, ImportError):
            _log.exception("the controller sent something unreadable: serving snapshot %d", self._snapshot.generation)
        finally:
            uncollected.close()
            if self._link is link:
                self._link = None
            await link.close()

    async def _assembly(self, link: Link, message: Begin) -> Assembly | None:
        try:
            return Assembly(message, self._snapshot)
        except ValueError as problem:
            await link.send(Refused(message.generation, str(problem)))
            return None

    async def _serve(self, assembly: Assembly) -> tuple[Served | Refused, Mapping[str, int]]:
        """Publish what came in. A snapshot that the edge cannot take costs nothing but itself.

        Returns the answer for the controller, and the ports of Services that could not be opened.
        """
        before = self._snapshot
        unbound: Mapping[str, int] = {}
        snapshot, delta = assembly.finish()
        if self._accepting:
            try:
                self._edge.publish(snapshot, delta)
            except Exception as problem:
                _log.exception("snapshot %d was not published", snapshot.generation)
                return Refused(snapshot.generation, repr(problem)), self._edge.streams.unbound
            self._snapshot = snapshot
            unbound = await self._edge.listen(snapshot, delta)
            return Served(snapshot.generation, differs(before, snapshot, delta)), unbound
        self._snapshot = snapshot
        self._edge.publish(snapshot, None)
        if not self._ending.done():
            await self._edge.start(self._sockets["http"], self._sockets["https"])
            self._accepting = True
            unbound = await self._edge.listen(snapshot, None)
            settle()
            self._control.send({"type": "ready"})
        return Served(snapshot.generation, changed=False), unbound

    def _report_ports(self, unbound: Mapping[str, int]) -> None:
        """Ports of Services were tried again."""
        if self._link is not None:
            task = asyncio.get_running_loop().create_task(self._send_ports(self._link, Unbound(unbound)))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    async def _send_ports(self, link: Link, report: Unbound) -> None:
        with contextlib.suppress(LinkClosed):
            await link.send(report)

    def _export(self) -> Export:
        self._stats.access_log_dropped_total = self._access_log.dropped
        self._edge.streams.measure()
        return Export(self._stats.export(), self._edge.statistics(), tuple(self._edge.upstreams()))


def main(arguments: list[str]) -> int:
    """`python -m ingressd.process.worker FD`: FD is the channel to the supervisor. Returns the exit code."""

    async def life() -> int:
        channel, start = begin(int(arguments[0]))
        program_log.configure(start.settings.log_level, start.settings.log_format)
        return await Worker(start, channel).run()

    return run(life)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
