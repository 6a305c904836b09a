"""An Edge in the test's own process whose Service ports lead to given endpoints."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from ingressd.listener.edge import Edge
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stats import WorkerStats
from ingressd.observe.stream_line import StreamEntry
from ingressd.settings import Limits, Settings
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.snapshot import Snapshot, diff
from ingressd.table.stream import NODE_PORT, TCP, StreamListener


class RecordingLog(AccessLog):
    """An access log that keeps what it is told of streams."""

    def __init__(self) -> None:
        super().__init__("off", "json")
        self.entries: list[StreamEntry] = []
        self._written = asyncio.Condition()

    def write_stream(self, entry: StreamEntry) -> None:
        self.entries.append(entry)

    async def ended(self, count: int = 1) -> list[StreamEntry]:
        """The entries, once there are `count`."""
        async with asyncio.timeout(10):
            while len(self.entries) < count:
                await asyncio.sleep(0.002)
        return self.entries


def free_port(protocol: str = TCP, address: str = "127.0.0.1") -> int:
    """A port that nobody has."""
    kind = socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def listener(protocol: str = TCP, address: str = "127.0.0.1", **changes: Any) -> StreamListener:
    """A Service port on a free port, to the pool `default/app:1`."""
    port = changes.pop("port", 0) or free_port(protocol, address)
    made = StreamListener(protocol, address, port, "default/app:1", "default", "app", "1", NODE_PORT)
    return replace(made, **changes)


def table(listeners: Sequence[StreamListener], ports: Sequence[int], generation: int = 1, **pool: Any) -> Snapshot:
    """These listeners, and `default/app:1` with these ports on 127.0.0.1 as its endpoints."""
    endpoints = tuple(Endpoint("127.0.0.1", port) for port in ports)
    app = replace(Pool("default/app:1", "default", "app", "1", endpoints), **pool)
    return Snapshot(generation, pools={app.id: app}, streams={each.key: each for each in listeners})


class StreamEdge:
    """A started edge."""

    def __init__(self, limits: Limits) -> None:
        self.log = RecordingLog()
        self.stats = WorkerStats()
        self.edge = Edge(Settings(limits=limits, access_log="off"), self.stats, self.log)
        self._served = Snapshot()

    async def serve(self, snapshot: Snapshot) -> dict[str, int]:
        """Publish the next snapshot; returns what could not be opened."""
        delta = diff(self._served, snapshot) if self._served.generation else None
        self.edge.publish(snapshot, delta)
        unbound = await self.edge.listen(snapshot, delta)
        self._served = snapshot
        return dict(unbound)


@asynccontextmanager
async def serving(snapshot: Snapshot, limits: Limits | None = None, drain_s: float = 0.2) -> AsyncIterator[StreamEdge]:
    """An edge that serves `snapshot` for the time of the block."""
    it = StreamEdge(limits or Limits())
    await it.edge.start([], [])
    assert await it.serve(snapshot) == {}
    try:
        yield it
    finally:
        await it.edge.drain(drain_s)
        it.log.close()
