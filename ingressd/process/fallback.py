"""Fallback: what is served when there are no manifests at all at a start: the table that was good last time.

In: what was compiled, what every worker serves. Out: the kept snapshot in place of an empty one, until manifests are
there; and a StateFolder that follows what is served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ingressd.compile.compilation import Compilation
from ingressd.errors import Fault, Severity
from ingressd.model.resource_set import ResourceSet
from ingressd.process.history import isoformat
from ingressd.process.state_folder import StateFolder
from ingressd.table.snapshot import Snapshot

SAVE_GAP_S = 5.0
"""Least time between two saves: a table of 20,000 routes takes a second of a core."""

STALE = "state_stale"

_log = logging.getLogger("ingressd.state")


class Fallback:
    """Of one controller. `stand_in` runs in a thread, everything else on the loop."""

    def __init__(self, folder: StateFolder, paths: Sequence[str]) -> None:
        self._folder = folder
        self._paths = paths
        self._kept: tuple[Snapshot, float] | None = None
        self._looked = False
        self._noted: Snapshot | None = None
        self._saved: Snapshot | None = None
        self._news = asyncio.Event()
        self.stale = False
        """The kept snapshot is served, because there are no manifests."""

    def stand_in(self, resources: ResourceSet, compilation: Compilation) -> Compilation:
        """`compilation`; or, as long as there has been no resource since the start, one with the kept snapshot."""
        if not self._looked:
            self._looked = True
            if _nothing(resources):
                self._kept = self._folder.load()
        if self._kept is not None and (not _nothing(resources) or _empty(self._kept[0])):
            self._kept = None
        if self._kept is None:
            if self.stale:
                _log.info("manifests are there: the kept snapshot has done its work")
            self.stale = False
            return compilation
        snapshot, kept_at = self._kept
        since = isoformat(datetime.fromtimestamp(kept_at, UTC))
        if not self.stale:
            _log.error("there are no manifests: serving the snapshot that was kept at %s", since)
        self.stale = True
        fault = Fault(
            Severity.ERROR,
            STALE,
            "",
            "",
            "",
            self._paths[0] if self._paths else "",
            0,
            0,
            f"there is no manifest that can be read; what was served at {since} is served",
            "put the manifests back; to serve nothing, remove the state folder and start again",
        )
        return replace(compilation, snapshot=snapshot, faults=(*compilation.faults, fault))

    def note(self, snapshot: Snapshot | None) -> None:
        """Every worker serves this one: keep it, soon."""
        if not self.stale and snapshot is not None and snapshot is not self._saved:
            self._noted = snapshot
            self._news.set()

    async def run(self) -> None:
        """Keep what is noted, for ever."""
        while True:
            await self._news.wait()
            await self.save()
            await asyncio.sleep(SAVE_GAP_S)

    async def save(self) -> None:
        """Keep what was noted last, if it is not kept yet."""
        self._news.clear()
        snapshot = self._noted
        if snapshot is not None and snapshot is not self._saved:
            await asyncio.to_thread(self._folder.save, snapshot)
            self._saved = snapshot


def _nothing(resources: ResourceSet) -> bool:
    """No document could be read, or there is none."""
    return not (
        resources.ingresses
        or resources.classes
        or resources.services
        or resources.secrets
        or resources.config_maps
        or resources.endpoints
        or resources.slices
    )


def _empty(snapshot: Snapshot) -> bool:
    return not snapshot.hosts and not snapshot.streams and snapshot.default is None
