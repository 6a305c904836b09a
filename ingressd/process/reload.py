"""The life of an edit: source -> ResourceSet -> compile -> warm -> publish -> every worker serves it -> applied.

In: triggers (an edit, a signal, a change of endpoints or of their health, the clock). Out: snapshots to the fleet, and
a History. Reading and compiling run in a thread. It never knows processes or sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from ingressd.collector import paused
from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler
from ingressd.compile.marks import marked, targets
from ingressd.compile.options import CompileOptions
from ingressd.discovery.base import Answer, Query
from ingressd.discovery.watcher import Watcher
from ingressd.errors import Severity, StartupError
from ingressd.model.resource_set import ResourceSet
from ingressd.process.certificates import CertificateReader
from ingressd.process.fallback import Fallback
from ingressd.process.health import HealthChecker
from ingressd.process.history import History, Reload, RouteChanges, route_changes
from ingressd.process.own_addresses import own_addresses
from ingressd.process.ports import Ports, cluster_listeners
from ingressd.process.transfer import differs, full
from ingressd.settings import OFF, Settings
from ingressd.sources.base import Source
from ingressd.table.snapshot import Delta, Snapshot, diff

WARM_S = 0.5
"""How long a snapshot waits for the first answer of a newly asked discovery provider, so that an edit which adds a
name does not turn requests away while it resolves."""
CLOCK_S = 3600.0
"""Certificates expire without any edit: their faults are looked at again this often."""

_log = logging.getLogger("ingressd.reload")


class Trigger(StrEnum):
    """Why the sources are compiled again."""

    START = "start"
    EDIT = "edit"
    CERTIFICATES = "certificates"
    SIGNAL = "signal"
    DISCOVERY = "discovery"
    HEALTH = "health"
    PORTS = "ports"
    CLOCK = "clock"


_EDITS = frozenset({Trigger.START, Trigger.EDIT, Trigger.CERTIFICATES, Trigger.SIGNAL})
"""Those that count as an edit; the others may change endpoints and faults, but no generation."""


_MARKS = frozenset({Trigger.HEALTH, Trigger.PORTS})
"""Those for which nothing is compiled: what was compiled last is looked at again."""


@dataclass(frozen=True, slots=True)
class _Edit:
    """Published, but not yet served by every worker."""

    snapshot: int
    trigger: str
    routes: RouteChanges
    faults: int
    noticed_at: float


class Reloader:
    """One compilation at a time; triggers that come meanwhile are taken together next."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        watcher: Watcher,
        checker: HealthChecker,
        publish: Callable[[Snapshot, Delta], None],
        cycled: Callable[[], None],
        ports: Ports,
        *,
        generation: int = 0,
        snapshot: int = 0,
        fallback: Fallback | None = None,
    ) -> None:
        """`publish` gets each new snapshot and what it changes, `cycled` is called after each compilation.

        `generation` and `snapshot` are what an earlier controller had reached.
        """
        self._settings = settings
        self._source = source
        self._certificates = CertificateReader(settings)
        self._compiler = Compiler()
        self._watcher = watcher
        self._checker = checker
        self._ports = ports
        self._fallback = fallback
        self._publish = publish
        self._cycled = cycled
        self._triggers: set[Trigger] = set()
        self._triggered = asyncio.Event()
        self._answered = asyncio.Event()
        self._resources: ResourceSet | None = None
        self._queries: frozenset[Query] = frozenset()
        self._edits: deque[_Edit] = deque()
        self._resumed = generation > 0
        self._changed_meanwhile = False
        self.generation = generation
        """Applied edits: what the API shows."""
        self.number = snapshot
        """Generation of the newest published Snapshot; changes of endpoints count too."""
        self._held: frozenset[str] = frozenset()
        """Listeners whose port another program has, as the newest compilation was told."""
        self._unmarked: Compilation | None = None
        """The newest one as the compiler made it: without what health checks say."""
        self.compilation: Compilation | None = None
        self.snapshot: Snapshot | None = None
        """The newest that was published."""
        self.history = History()

    def trigger(self, why: Trigger) -> None:
        """Compile again, soon."""
        self._triggers.add(why)
        self._triggered.set()

    def answered(self) -> None:
        """A discovery provider has a new answer."""
        self._answered.set()
        self.trigger(Trigger.DISCOVERY)

    async def start(self) -> None:
        """Load, compile and publish for the first time. Raises StartupError."""
        await self._cycle({Trigger.START})

    async def run(self) -> None:
        """Follow the triggers for ever. Whatever goes wrong, the last snapshot stays."""
        while True:
            await self._triggered.wait()
            self._triggered.clear()
            triggers, self._triggers = self._triggers, set()
            try:
                await self._cycle(triggers)
            except Exception:
                _log.exception("the reload failed: snapshot %d is still served", self.number)

    def advance(self, served: int, *, changed: bool) -> list[Reload]:
        """Every worker serves snapshot `served` or a newer one: note the edits that are applied by that.

        `changed`: a worker said that it differs from what it served before. Only the first snapshot after a crash
        of the controller needs that word: then nobody else knows whether an edit happened meanwhile.
        """
        self._changed_meanwhile = self._changed_meanwhile or changed
        applied: list[Reload] = []
        while self._edits and served >= self._edits[0].snapshot:
            edit = self._edits.popleft()
            if not self._resumed or self._changed_meanwhile or edit.trigger != Trigger.START:
                self.generation += 1
            reload = Reload(
                generation=self.generation,
                snapshot=edit.snapshot,
                applied_at=datetime.now(UTC),
                trigger=edit.trigger,
                routes=edit.routes,
                faults=edit.faults,
                milliseconds=(time.monotonic() - edit.noticed_at) * 1000,
            )
            self.history.add(reload)
            applied.append(reload)
            _log.info("%s", reload)
        return applied

    async def _cycle(self, triggers: set[Trigger]) -> None:
        # Resources, compilation and snapshot stay until the next edit, most of them for good.
        with paused(freeze=True):
            await self._reload(triggers)

    async def _reload(self, triggers: set[Trigger]) -> None:
        noticed_at = time.monotonic()
        if triggers <= _MARKS:
            await self._mark(triggers)
            return
        edits = triggers & _EDITS
        resources = self._resources
        if resources is None or edits:
            news_only = resources is not None and edits == {Trigger.EDIT}
            resources = await asyncio.to_thread(self._source.load, news_only=news_only)
            if resources is self._resources and edits == {Trigger.EDIT}:
                edits = set()  # nothing was edited; what came together with it counts
                if triggers == {Trigger.EDIT}:
                    return
        compilation = await self._compile(resources)
        if await self._warm(compilation.queries):
            compilation = await self._compile(resources)
        await self._look(compilation)
        if self._ports.held != self._held:
            compilation = await self._compile(resources)
        if self.compilation is None:
            self._refuse_if_strict(compilation)
        self._unmarked = compilation
        self._checker.follow(await asyncio.to_thread(targets, compilation.snapshot.pools))
        if self.compilation is None:
            # Another controller may have known who is unhealthy: workers shall not meet them again.
            await self._checker.first_results(WARM_S)
        changes = self._take(resources, await asyncio.to_thread(self._marked, compilation))
        if edits:
            trigger = "+".join(sorted(edits))
            faults = len(compilation.faults)
            self._edits.append(_Edit(self.number, trigger, changes, faults, noticed_at))
        self._cycled()

    async def _mark(self, triggers: set[Trigger]) -> None:
        """Only the health of endpoints has changed, or who has which port: nothing need be compiled for that."""
        if self._resources is not None and self._unmarked is not None:
            news = await self._look(self._unmarked)
            if not news and triggers == {Trigger.PORTS}:
                return
            if self._ports.held != self._held:
                # What leads back to us depends on that: compile, then publish.
                self.trigger(Trigger.DISCOVERY)
                return
            self._take(self._resources, await asyncio.to_thread(self._marked, self._unmarked))
            self._cycled()

    def _marked(self, compilation: Compilation) -> Compilation:
        """In a thread."""
        healthy = marked(compilation, (self.snapshot or Snapshot()).pools, self._checker.unhealthy)
        return self._ports.judged(healthy)

    async def _look(self, compilation: Compilation) -> bool:
        """Whether other programs have ports that Services want. Returns whether that has changed."""
        published = (self.snapshot or Snapshot()).streams
        return await asyncio.to_thread(self._ports.look, compilation.snapshot.streams, published)

    async def _compile(self, resources: ResourceSet) -> Compilation:
        answers = dict(self._watcher.answers)
        self._held = self._ports.held
        compilation = await asyncio.to_thread(self._compiled, resources, answers, self.snapshot)
        if self._fallback is not None:
            compilation = await asyncio.to_thread(self._fallback.stand_in, resources, compilation)
        return compilation

    def _compiled(
        self, resources: ResourceSet, answers: Mapping[Query, Answer], previous: Snapshot | None
    ) -> Compilation:
        """In a thread."""
        settings, now = self._settings, datetime.now(UTC)
        https_port = None if settings.https_port == OFF else settings.https_port
        certificates = self._certificates.read(now)
        most = cluster_listeners()
        options = CompileOptions.from_settings(
            settings,
            https_port,
            now,
            certificates,
            most_cluster_listeners=most,
            machine=own_addresses(),
            held=self._held,
        )
        return self._compiler.compile(resources, answers, options, previous)

    async def _warm(self, queries: frozenset[Query]) -> bool:
        """Ask the discovery providers what `queries` want to know. Returns whether new answers came."""
        added = queries - self._queries
        self._queries = queries
        self._watcher.watch(queries)
        if not added:
            return False
        deadline = time.monotonic() + WARM_S
        while not added <= self._watcher.answers.keys() and time.monotonic() < deadline:
            self._answered.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._answered.wait()
        return bool(added & self._watcher.answers.keys())

    def _take(self, resources: ResourceSet, compilation: Compilation) -> RouteChanges:
        """Make `compilation` the newest one; publish its snapshot unless it says what the last one said."""
        self._resources = resources
        self.compilation = compilation
        new = replace(compilation.snapshot, generation=self.number + 1)
        old = self.snapshot
        delta = full(new) if old is None else diff(old, new)
        if old is not None and not differs(old, new, delta):
            return RouteChanges()
        self.number += 1
        self.snapshot = new
        self._publish(new, delta)
        return route_changes(old or Snapshot(), new, delta)

    def _refuse_if_strict(self, compilation: Compilation) -> None:
        errors = [fault for fault in compilation.faults if fault.severity == Severity.ERROR]
        if self._settings.strict and errors:
            one = len(errors) == 1
            count = "1 error, and --strict refuses it" if one else f"{len(errors)} errors, and --strict refuses them"
            lines = "\n".join(str(fault) for fault in errors)
            raise StartupError(f"the manifests have {count}:\n{lines}")


def stamp(paths: Iterable[str]) -> dict[str, tuple[int, int, int] | None]:
    """What tells an edited file from the one before: inode, size and modification time; None = not there."""
    stamps: dict[str, tuple[int, int, int] | None] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            stamps[path] = None
        else:
            stamps[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return stamps
