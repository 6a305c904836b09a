"""Disturbances: edits every few seconds, now and then a SIGHUP, and kills of a worker and of the controller.

In: a running program and its site. Out: kills and failures in the ledger. One worker is never killed: it shows what
half an hour does to a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import Any

from soak.connection import now
from soak.ledger import Failure, Ledger
from soak.program import Program
from soak.site import Site

EDIT_S = 3.0
HANG_UP_S = 45.0
APPLIED_S = 10.0
"""An edit is applied within half a second; this is for a machine with other things to do."""
CONTROLLER_AT = (0.1, 0.2)
"""Of the whole time: what is left is long enough to see whether a controller grows."""
WORKER_KILLS = 10
WORKER_KILL_S = 20.0
"""Not more often than that."""
_LOOK_S = 0.1


class Disturbances:
    """All of them, for the time of a soak."""

    def __init__(self, program: Program, site: Site, ledger: Ledger) -> None:
        self._program = program
        self._site = site
        self._ledger = ledger
        self._survivor = program.pids("worker")[-1]
        self._controller_back = 0.0
        """When the last controller that was killed had a successor."""
        self.counts: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """For so long."""
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                group.create_task(self._edit())
                group.create_task(self._hang_up())
                group.create_task(self._kill_workers(max(seconds / WORKER_KILLS, WORKER_KILL_S)))
                group.create_task(self._kill_controllers(seconds))
        except TimeoutError:
            pass

    async def _edit(self) -> None:
        while True:
            await asyncio.sleep(EDIT_S)
            before = (await self._until_status())["generation"]
            edited_at = now()
            what = self._site.edit()
            while (await self._until_status())["generation"] <= before:
                if self._controller_back > edited_at:
                    break  # its successor counts anew, and has read the edit with everything else
                if now() > edited_at + APPLIED_S:
                    self._ledger.failures.append(Failure("edit", f"not applied: {what}", edited_at, now(), cut=False))
                    break
                await asyncio.sleep(_LOOK_S)
            self.counts["edits"] += 1

    async def _hang_up(self) -> None:
        while True:
            await asyncio.sleep(HANG_UP_S)
            self._program.process.signal(signal.SIGHUP)
            self.counts["SIGHUPs"] += 1

    async def _kill_workers(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            status = await self._until_status()
            others = [pid for pid in status["processes"]["workers"] if pid != self._survivor]
            if not others:
                continue
            self._ledger.kills.append(now())
            os.kill(others[0], signal.SIGKILL)
            self.counts["workers killed"] += 1

    async def _kill_controllers(self, seconds: float) -> None:
        started = now()
        for share in CONTROLLER_AT:
            await asyncio.sleep(max(0.0, started + share * seconds - now()))
            old = (await self._until_status())["processes"]["controller"]
            os.kill(old, signal.SIGKILL)
            self.counts["controllers killed"] += 1
            while (status := await self._program.status()).get("processes", {}).get(
                "controller", old
            ) == old or not status["ready"]:
                await asyncio.sleep(_LOOK_S)
            self._controller_back = now()

    async def _until_status(self) -> dict[str, Any]:
        while not (status := await self._program.status()):
            await asyncio.sleep(_LOOK_S)
        return status
