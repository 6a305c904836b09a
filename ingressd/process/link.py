"""Link: one end of the socket between the controller and a worker, on a loop. It carries pickled messages.

In and out: the messages below, in length-prefixed frames. Both ends are our own processes, started by one
supervisor from one installation, on a socket without a name: nobody else can write to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingressd.table.certificate import Certificate
from ingressd.table.pool import Pool
from ingressd.table.route import Route, VirtualHost
from ingressd.table.stream import StreamListener

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""Parts are split by weight (transfer.py); a single route or pool is not, and this is room for the largest."""

_HEADER = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Begin:
    """Controller to worker: a snapshot follows, as changes to `base`; base 0 = to nothing, a full one."""

    base: int
    generation: int
    default_certificate: Certificate | None
    default: Route | None


@dataclass(frozen=True, slots=True)
class Part:
    """Controller to worker: some of the changes. None removes the key."""

    hosts: Mapping[str, VirtualHost | None]
    pools: Mapping[str, Pool | None]
    certificates: Mapping[str, Certificate | None]
    streams: Mapping[str, StreamListener | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """Controller to worker: that was all; serve it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Served:
    """Worker to controller: requests now meet this snapshot. `changed`: it differs from the one before it."""

    generation: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Unbound:
    """Worker to controller: the ports of Services that it could not open, all of them, by key; empty = none."""

    problems: Mapping[str, int]
    """The errno of each."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Worker to controller: the snapshot could not be put together; the one before it is still served."""

    generation: int
    problem: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Controller to worker: send an Export."""


@dataclass(frozen=True, slots=True)
class Export:
    """Worker to controller: its counters (WorkerStats.export, Edge.statistics, Edge.upstreams)."""

    stats: Mapping[str, Any]
    edge: Mapping[str, int]
    upstreams: tuple[Mapping[str, Any], ...]


class LinkClosed(Exception):
    """The other process is gone, or what it sent is no frame."""


class Link:
    """Send and receive; each waits for the socket without holding the loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()

    @classmethod
    async def open(cls, sock: socket.socket) -> Link:
        """Take over a connected Unix socket."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def send(self, message: object) -> None:
        """Send one message; returns when the buffer has room again. Raises LinkClosed."""
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if len(body) > MAX_FRAME_BYTES:
            raise ValueError(f"a message of {len(body)} bytes, at most {MAX_FRAME_BYTES}")
        async with self._sending:
            try:
                self._writer.write(_HEADER.pack(len(body)))
                self._writer.write(body)
                await self._writer.drain()
            except OSError as problem:
                raise LinkClosed(str(problem)) from problem

    async def receive(self) -> object:
        """The next message. Raises LinkClosed."""
        try:
            (length,) = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            if length > MAX_FRAME_BYTES:
                raise LinkClosed(f"a frame of {length} bytes, at most {MAX_FRAME_BYTES}")
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as problem:
            raise LinkClosed(str(problem)) from problem
        return pickle.loads(body)  # noqa: S301 - from our own process, see the module's docstring

    async def close(self) -> None:
        """Close this end. Closing twice is fine."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
