"""Fleet: the workers as the controller sees them, and which snapshot each of them serves.

In: links from the supervisor, snapshots from the reloader. Out: snapshots on their way, acknowledgements, counters.
A worker has at most one snapshot under way; what is published meanwhile is caught up with in one step.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from collections.abc import Callable, Mapping

from ingressd.process.link import Ask, Export, Link, LinkClosed, Refused, Served, Unbound
from ingressd.process.transfer import full, parts
from ingressd.table.snapshot import Delta, Snapshot, diff

EXPORT_TIMEOUT_S = 1.0

_log = logging.getLogger(__name__)


class Member:
    """One life of one worker."""

    def __init__(self, index: int, pid: int, link: Link) -> None:
        self.index = index
        self.pid = pid
        self.link = link
        self.sent: Snapshot | None = None
        """What its next changes are relative to; None = it must get a full snapshot."""
        self.served = 0
        """Number of the snapshot that it serves; 0 = none yet."""
        self.due = asyncio.Event()
        """There may be something newer to send."""
        self.acknowledged = asyncio.Event()
        self.export: Export | None = None
        self.asked: asyncio.Future[Export] | None = None


class Fleet:
    """All workers. `on_served(changed)` is called after each acknowledgement and each departure."""

    def __init__(
        self,
        size: int,
        on_served: Callable[[bool], None],
        on_unbound: Callable[[int, Mapping[str, int]], None] = lambda *_: None,
    ) -> None:
        """`on_unbound(index, errno by key)` is called when a worker tells which ports of Services it could not open."""
        self.size = size
        self.departed: list[Export] = []
        """What workers that are gone had counted: sums go on with it, so that no counter ever falls."""
        self._on_served = on_served
        self._on_unbound = on_unbound
        self._members: dict[int, Member] = {}
        self._current: Snapshot | None = None
        self._delta: Delta | None = None
        """What the current snapshot changed."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def members(self) -> list[Member]:
        """The workers that are connected, by index."""
        return [self._members[index] for index in sorted(self._members)]

    @property
    def served(self) -> int:
        """Number of the newest snapshot that every connected worker serves; 0 = none."""
        return min((member.served for member in self._members.values()), default=0)

    @property
    def serving(self) -> int:
        """How many workers serve some snapshot."""
        return sum(1 for member in self._members.values() if member.served)

    def attach(self, index: int, pid: int, sock: socket.socket) -> None:
        """The supervisor started worker `index` (or us): this is the socket to it."""
        task = asyncio.get_running_loop().create_task(self._accompany(index, pid, sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def publish(self, snapshot: Snapshot, delta: Delta | None = None) -> None:
        """Bring every worker, also those still to come, to `snapshot`. Returns at once.

        `delta`, where that is known: from the snapshot before, which most workers serve.
        """
        self._current, self._delta = snapshot, delta
        for member in self._members.values():
            member.due.set()

    async def exports(self) -> list[Export]:
        """Counters of every connected worker: fresh ones, or the last known of a worker that is silent for 1 s."""
        members = self.members
        await asyncio.gather(*(self._ask(member) for member in members))
        # Who has left meanwhile is among the departed.
        return [m.export for m in members if m.export is not None and self._members.get(m.index) is m]

    async def close(self) -> None:
        """Leave the workers to themselves."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accompany(self, index: int, pid: int, sock: socket.socket) -> None:
        link = await Link.open(sock)
        member = Member(index, pid, link)
        member.due.set()
        self._members[index] = member
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._send(member))
                await self._listen(member)
                sending.cancel()
        finally:
            if self._members.get(index) is member:
                del self._members[index]
            if member.export is not None:
                self.departed.append(member.export)
            await link.close()
            if index not in self._members:
                self._on_unbound(index, {})
            self._on_served(False)

    async def _send(self, member: Member) -> None:
        try:
            while True:
                await member.due.wait()
                member.due.clear()
                snapshot = self._current
                if snapshot is None or snapshot is member.sent:
                    continue
                delta = self._change(member.sent, snapshot)
                member.sent = snapshot
                member.acknowledged.clear()
                for part in parts(delta):
                    await member.link.send(part)
                    # A small part leaves without waiting for room: other work must get its turn all the same.
                    await asyncio.sleep(0)
                await member.acknowledged.wait()
        except LinkClosed:
            return

    def _change(self, sent: Snapshot | None, snapshot: Snapshot) -> Delta:
        if sent is None:
            return full(snapshot)
        known = self._delta
        return known if known is not None and known.base == sent.generation else diff(sent, snapshot)

    async def _listen(self, member: Member) -> None:
        while True:
            try:
                message = await member.link.receive()
            except LinkClosed:
                return
            except (pickle.UnpicklingError, AttributeError, ImportError, EOFError):
                _log.exception("worker %d sent something unreadable: it is no longer listened to", member.index)
                return
            match message:
                case Served():
                    member.served = message.generation
                    member.acknowledged.set()
                    self._on_served(message.changed)
                case Unbound():
                    self._on_unbound(member.index, message.problems)
                case Refused():
                    _log.error(
                        "worker %d keeps snapshot %d: snapshot %d was refused: %s",
                        member.index,
                        member.served,
                        message.generation,
                        message.problem,
                    )
                    member.sent = None
                    member.acknowledged.set()
                case Export():
                    member.export = message
                    if member.asked is not None and not member.asked.done():
                        member.asked.set_result(message)

    async def _ask(self, member: Member) -> None:
        asked = member.asked
        if asked is None or asked.done():
            asked = member.asked = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(EXPORT_TIMEOUT_S):
                    await member.link.send(Ask())
            except (LinkClosed, TimeoutError):
                return
        try:
            async with asyncio.timeout(EXPORT_TIMEOUT_S):
                await asyncio.shield(asked)
        except TimeoutError:
            _log.warning("worker %d did not send its counters within %g s", member.index, EXPORT_TIMEOUT_S)
