"""The controller: the control plane in a process of its own.

In: manifests, endpoints, orders of the supervisor. Out: snapshots to the workers, the admin API. When it dies,
traffic goes on; the next one takes up the count where the supervisor remembers it.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Nothing that an import makes is garbage, and looking for some is a fifth of the start: see collector.resume.
    gc.disable()

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence

from ingressd.admin.server import AdminServer
from ingressd.discovery import registry as providers
from ingressd.discovery.watcher import Watcher
from ingressd.filters import plugins
from ingressd.naming.server import DnsServer
from ingressd.observe import program_log
from ingressd.process.channel import Channel, Received
from ingressd.process.control import Control, Start, begin
from ingressd.process.fallback import Fallback
from ingressd.process.fleet import Fleet
from ingressd.process.health import HealthChecker
from ingressd.process.loop import run
from ingressd.process.ports import RETRY_S, Ports
from ingressd.process.reload import CLOCK_S, Reloader, Trigger, stamp
from ingressd.process.state_folder import StateFolder
from ingressd.process.view import ControllerView
from ingressd.sources.files import FileSource

EXPORT_INTERVAL_S = 10.0
"""Counters of the workers are fetched this often even when nobody scrapes, so that a worker that is killed takes at
most so much of them with it."""

_log = logging.getLogger("ingressd.controller")


class Controller:
    """One controller, from its start order to its stop."""

    def __init__(self, start: Start, channel: Channel) -> None:
        settings = self._settings = start.settings
        self._admin_sockets = [socket.socket(fileno=number) for number in start.admin]
        self._dns_sockets = [socket.socket(fileno=number) for number in start.dns]
        self._source = FileSource(
            settings.paths, poll_interval_s=settings.poll_interval_s, events=settings.watch_events
        )
        plugins.load(settings.plugins)
        plugins.installed()  # what is wrong with one is said at the start, and not at an edit
        self._watcher = Watcher(providers.load(settings), self._discovered)
        self._checker = HealthChecker(self._health_changed)
        self._ports = Ports(start.supervisor_pid)
        self._fleet = Fleet(settings.workers, self._served, self._unbound)
        self._fallback = Fallback(StateFolder(settings.state_dir), settings.paths) if settings.state_dir else None
        self._reloader = Reloader(
            settings,
            self._source,
            self._watcher,
            self._checker,
            self._fleet.publish,
            self._cycled,
            self._ports,
            generation=start.generation,
            snapshot=start.snapshot,
            fallback=self._fallback,
        )
        self._dns = DnsServer(settings)
        self._view = ControllerView(start, self._reloader, self._fleet, self._dns, self._checker)
        self._admin = AdminServer(self._view, settings)
        self._opening: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._control = Control(channel, self._ordered, self._stopped.set)

    async def run(self) -> int:
        """Control until told to stop. Returns the exit code; raises StartupError."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopped.set)
        if self._admin_sockets:
            # Before anything is loaded: /readyz says what is missing.
            await self._admin.start(self._admin_sockets)
        await self._dns.start(self._dns_sockets)
        jobs = [asyncio.create_task(job) for job in self._jobs()]
        if self._fallback is not None:
            jobs.append(asyncio.create_task(self._fallback.run()))
        if files := self._certificate_files():
            jobs.append(asyncio.create_task(self._follow_certificates(files)))
        stopping = asyncio.create_task(self._stopped.wait())
        try:
            done, _ = await asyncio.wait((*jobs, stopping), return_when=asyncio.FIRST_COMPLETED)
            for job in done - {stopping}:
                await job
        finally:
            for job in (*jobs, stopping):
                job.cancel()
            await asyncio.gather(*jobs, stopping, return_exceptions=True)
            if self._opening is not None:
                await self._opening
            await self._admin.close()
            await self._dns.close()
            await self._fleet.close()
            await self._watcher.close()
            await self._checker.close()
            if self._fallback is not None:
                await self._fallback.save()
            self._control.close()
        return 0

    def _jobs(self) -> tuple[Coroutine[None, None, None], ...]:
        return self._reload(), self._follow_clock(), self._follow_exports(), self._follow_ports()

    # Orders of the supervisor.

    def _ordered(self, received: Received) -> None:
        match received.message["type"]:
            case "link":
                self._fleet.attach(received.message["worker"], received.message["pid"], received.sockets[0])
            case "reload":
                _log.info("SIGHUP: reading everything again")
                self._reloader.trigger(Trigger.SIGNAL)
            case "take_over":
                self._take_over(received)
            case "drain":
                self._view.draining = True
            case "stop":
                self._stopped.set()

    def _take_over(self, received: Received) -> None:
        """An earlier version of the program ends: its count and its ports are ours now."""
        self._reloader.generation = max(self._reloader.generation, received.message["generation"])
        self._report()
        count = received.message["admin"]
        self._opening = asyncio.create_task(self._open(received.sockets[:count], received.sockets[count:]))

    async def _open(self, admin: Sequence[socket.socket], dns: Sequence[socket.socket]) -> None:
        await self._dns.start(dns)
        if admin:
            await self._admin.start(admin)

    # What makes a reload, and what a reload makes.

    async def _reload(self) -> None:
        await self._reloader.start()
        watching = asyncio.create_task(self._follow_source())
        try:
            await self._reloader.run()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _follow_source(self) -> None:
        async for _ in self._source.watch():
            self._reloader.trigger(Trigger.EDIT)

    def _certificate_files(self) -> list[str]:
        settings = self._settings
        pairs = [*settings.certificates, *([settings.default_certificate] if settings.default_certificate else [])]
        return [path for pair in pairs for path in pair]

    async def _follow_certificates(self, paths: list[str]) -> None:
        known = await asyncio.to_thread(stamp, paths)
        while True:
            await asyncio.sleep(self._settings.poll_interval_s)
            found = await asyncio.to_thread(stamp, paths)
            if found != known:
                known = found
                self._reloader.trigger(Trigger.CERTIFICATES)

    async def _follow_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_S)
            self._reloader.trigger(Trigger.CLOCK)

    async def _follow_exports(self) -> None:
        while True:
            await asyncio.sleep(EXPORT_INTERVAL_S)
            await self._fleet.exports()

    async def _follow_ports(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            if self._ports.troubled:
                self._reloader.trigger(Trigger.PORTS)

    def _unbound(self, worker: int, problems: Mapping[str, int]) -> None:
        """A worker has told which ports of Services it could not open."""
        if self._ports.report(worker, problems):
            self._reloader.trigger(Trigger.PORTS)

    def _discovered(self) -> None:
        self._reloader.answered()

    def _health_changed(self) -> None:
        self._reloader.trigger(Trigger.HEALTH)

    def _cycled(self) -> None:
        """A compilation has ended: if it changed nothing that workers see, its edit is applied already."""
        self._view.stale = self._fallback is not None and self._fallback.stale
        if self._reloader.compilation is not None:
            self._dns.serve(self._reloader.compilation, self._reloader.number)
        self._report()
        self._served(changed=False)

    def _served(self, changed: bool) -> None:
        """A worker took a snapshot, or left."""
        if self._reloader.history.last is None and self._fleet.serving < self._fleet.size:
            return  # the first generation is applied when all workers serve, not those that were quick to start
        if self._reloader.advance(self._fleet.served, changed=changed):
            self._report()
        if self._fallback is not None and self._fleet.served == self._reloader.number:
            self._fallback.note(self._reloader.snapshot)
        if not self._view.started:
            self._view.started = True
            self._control.send({"type": "ready"})

    def _report(self) -> None:
        """Tell the supervisor how far we are, for the controller after us."""
        reloader = self._reloader
        self._control.send({"type": "progress", "generation": reloader.generation, "snapshot": reloader.number})


def main(arguments: list[str]) -> int:
    """`python -m ingressd.process.controller FD`: FD is the channel to the supervisor. Returns the exit code."""

    async def life() -> int:
        channel, start = begin(int(arguments[0]))
        program_log.configure(start.settings.log_level, start.settings.log_format)
        return await Controller(start, channel).run()

    return run(life)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
