"""Ports of Services, before workers open them: whether another program has one, and who.

In: the stream listeners that a compilation wants, and what workers could not open. Out: the same without those that
another program has, and faults that name it. Workers share their ports by SO_REUSEPORT, which would let them share with
any program of the same user, too: a bind without it finds that out first.
"""

from __future__ import annotations

import errno
import logging
import resource
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from ingressd.compile.compilation import Compilation
from ingressd.compile.port_faults import PortProblem
from ingressd.listener.port import open_port
from ingressd.process.port_holders import PortHolders
from ingressd.table.snapshot import same_keys
from ingressd.table.stream import StreamListener

RETRY_S = 3.0
"""How often ports are looked at again that could not be opened."""

AGAIN = 500
"""Of more ports than that, so many at a time are looked at again: it takes 10 ms."""

_TOLD = 10
_DESCRIPTORS_PERCENT = 80  # the rest is for connections and files

_log = logging.getLogger("ingressd.ports")


class Ports:
    """Of one controller. `look` opens sockets and reads files, `judged` goes through faults: they are for a thread."""

    def __init__(self, supervisor_pid: int) -> None:
        self._supervisor_pid = supervisor_pid
        self._held: dict[str, PortProblem] = {}
        """Listeners that workers shall not open, by key."""
        self._reported: dict[int, Mapping[str, int]] = {}
        """Worker -> the errno of each listener that it could not open, by key."""
        self._holders: dict[str, str] = {}
        """Key -> who has a port that workers could not open."""
        self._news = False
        """A worker has told something since the last look."""

    @property
    def troubled(self) -> bool:
        """Some port is not open: look again, later."""
        return bool(self._held or self._reported)

    @property
    def held(self) -> frozenset[str]:
        """The keys of listeners whose port another program has."""
        return frozenset(self._held)

    def report(self, worker: int, unbound: Mapping[str, int]) -> bool:
        """A worker could not open these, and could open all others. Returns whether that is news."""
        before = self._reported.pop(worker, {})
        if unbound:
            self._reported[worker] = unbound
        if before == unbound:
            return False
        self._news = True
        return True

    def look(self, wanted: Mapping[str, StreamListener], published: Mapping[str, StreamListener]) -> bool:
        """Look at the ports that are not `published` yet. Returns whether anything changed."""
        news, self._news = self._news, False
        before, holders_before = self._held, self._holders
        holders = PortHolders(self._supervisor_pid)
        # Those that are left for next time come first then.
        held = {key: before[key] for key in islice(before, AGAIN, None) if key in wanted}
        for key in () if same_keys(published, wanted) else wanted:
            if key in published or key in held:
                continue
            if (problem := _probe(wanted[key], holders)) is not None:
                held[key] = problem
        refused = {key for key, number in self._unbound().items() if _busy(number)}
        self._holders = {key: ", ".join(holders.strangers(wanted[key])) for key in refused if key in wanted}
        _tell(logging.WARNING, [f"{key} is not opened: {held[key]}" for key in held if key not in before])
        _tell(logging.INFO, [f"{key} is opened now" for key in before if key not in held and key in wanted])
        self._held = held
        return news or (before, holders_before) != (held, self._holders)

    def judged(self, compilation: Compilation) -> Compilation:
        """`compilation` without the listeners that must not be opened, with faults for all that are not."""
        problems = {key: PortProblem(number, self._holders.get(key, "")) for key, number in self._unbound().items()}
        problems.update(self._held)
        streams = compilation.snapshot.streams
        if self._held.keys() & streams.keys():
            streams = {key: listener for key, listener in streams.items() if key not in self._held}
            compilation = replace(compilation, snapshot=replace(compilation.snapshot, streams=streams))
        return compilation.with_problems(problems)

    def _unbound(self) -> dict[str, int]:
        """What any worker could not open. A copy: the loop changes it meanwhile."""
        return {key: number for unbound in tuple(self._reported.values()) for key, number in unbound.items()}


def _tell(level: int, lines: Sequence[str]) -> None:
    for line in lines[:_TOLD]:
        _log.log(level, "%s", line)
    if len(lines) > _TOLD:
        _log.log(level, "and so it is with %d more ports", len(lines) - _TOLD)


def cluster_listeners() -> int:
    """How many virtual addresses a worker has descriptors for; 0 = no bound."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if descriptors == resource.RLIM_INFINITY else max(1, descriptors * _DESCRIPTORS_PERCENT // 100)


def _probe(listener: StreamListener, holders: PortHolders) -> PortProblem | None:
    """Why workers must not open it, or could not."""
    try:
        open_port(listener, shared=False).close()
    except OSError as problem:
        number = problem.errno or errno.EIO
        if not _busy(number):
            return PortProblem(number)
        strangers = holders.strangers(listener)
        return PortProblem(number, ", ".join(strangers)) if strangers else None
    return None


def _busy(number: int) -> bool:
    return number == errno.EADDRINUSE
