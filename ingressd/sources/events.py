"""News of the file system: something happened where manifests are.

In: the places of a Listing. Out: `wait()` returns soon after an event that may matter, with its path. Events are a
hint: they may be missing altogether (network file systems, containers on other systems), and files.py looks by itself,
too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from watchfiles._rust_notify import RustNotify

from ingressd.sources.folders import Listing, is_hidden, is_manifest

SETTLE_MS = 50
"""Edits that follow each other within this time are one."""
SETTLE_MAX_MS = 500
"""Nobody waits longer, even when edits keep coming."""
RETRY_S = 10.0
"""After the system refused to send events: no watches left, most often."""

_log = logging.getLogger("ingressd.sources")


@dataclass(frozen=True, slots=True)
class Places:
    """What an event is about when it matters."""

    folders: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()

    @classmethod
    def of(cls, listing: Listing) -> Places:
        """The places of what was found."""
        return cls(frozenset(listing.folders), frozenset(listing.named))

    def watched(self) -> list[str]:
        """The folders whose entries must be watched. Not recursive: below a link, that could be the whole disk."""
        parents = {os.path.dirname(path) for path in self.named}
        return sorted(folder for folder in self.folders | parents if os.path.isdir(folder))

    def concern(self, path: str) -> bool:
        """Whether what happened to `path` may change what is loaded."""
        if path in self.named or path in self.folders:
            return True
        folder, name = os.path.split(path)
        # `..data` and its like are where the links of a Kubernetes volume lead.
        if folder not in self.folders or (is_hidden(name) and not name.startswith("..")):
            return False
        return is_manifest(name) or name.startswith("..") or os.path.isdir(path)


class Events:
    """The events of some places. Belongs to one event loop."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()
        self._paths: set[str] = set()
        self._anything = False
        """Nobody knows what happened."""
        self._listener: _Listener | None = None
        self._retry_at = 0.0
        self._problem = ""

    async def follow(self, places: Places) -> bool:
        """Listen to these places from now on. Returns whether that was begun just now: look again then."""
        listener = self._listener
        if listener is not None and listener.alive and listener.places == places:
            return False
        if time.monotonic() < self._retry_at:
            return False
        loop = asyncio.get_running_loop()

        def tell(paths: frozenset[str]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(self._note, paths)

        before, self._listener = listener, _Listener(places, tell)
        try:
            await asyncio.to_thread(self._listener.begin)
        except (OSError, RuntimeError) as error:
            self._listener = None
            self._retry_at = time.monotonic() + RETRY_S
            if str(error) != self._problem:
                self._problem = str(error)
                _log.warning("no events of the file system (%s): edits are found by looking", error)
            return False
        finally:
            # The one before ends last: nothing is missed in between.
            if before is not None:
                await before.close()
        return True

    async def wait(self, seconds: float) -> frozenset[str]:
        """Return when something happened, at the latest after `seconds`. Returns where; nowhere = look everywhere."""
        try:
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        except TimeoutError:
            return frozenset()
        paths = frozenset() if self._anything else frozenset(self._paths)
        self._happened.clear()
        self._paths.clear()
        self._anything = False
        return paths

    def _note(self, paths: frozenset[str]) -> None:
        self._paths |= paths
        self._anything = self._anything or not paths
        self._happened.set()

    async def close(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.close()


class _Listener:
    """A thread that waits for the events of some places."""

    def __init__(self, places: Places, tell: Callable[[frozenset[str]], None]) -> None:
        self.places = places
        self.alive = True
        self._tell = tell
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file events", daemon=True)

    def begin(self) -> None:
        """Ask the system for events. Blocks: there may be many folders."""
        # Paths, debug output, polling, its interval, recursion, whether to pass over folders that may not be read.
        self._notify = RustNotify(self.places.watched(), False, False, 0, False, True)
        self._thread.start()

    async def close(self) -> None:
        """End the thread; one that is only just beginning ends by itself."""
        self._stopped.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            while True:
                found = self._notify.watch(SETTLE_MAX_MS, SETTLE_MS, 0, self._stopped)
                if found == "stop":
                    break
                if isinstance(found, str):
                    continue
                concerned = frozenset(path for _, path in found if self.places.concern(path))
                if concerned:
                    self._tell(concerned)
        except (OSError, RuntimeError) as error:
            _log.warning("the events of the file system ended (%s): asking for them again", error)
            self._tell(frozenset())
        finally:
            self.alive = False
            self._notify.close()
