"""An Edge in the test's own process, on free ports, with routes to given backends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ingressd.listener.edge import Edge
from ingressd.observe.access_log import AccessLog
from ingressd.observe.entry import Entry
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits, Settings
from ingressd.table.certificate import Certificate
from ingressd.table.endpoint import Endpoint
from ingressd.table.policy import DEFAULT_POLICY, RoutePolicy
from ingressd.table.pool import Pool
from ingressd.table.route import PREFIX, Route, VirtualHost
from ingressd.table.snapshot import Snapshot
from tests.support.backend import abort


class RecordingLog(AccessLog):
    """An access log that also keeps its entries."""

    def __init__(self) -> None:
        super().__init__("off", "json")
        self.on = True
        self.entries: list[Entry] = []
        self.written = asyncio.Condition()

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)
        super().write(entry)


def route(host: str = "", path: str = "/", pool: str = "default/app:80", **more: Any) -> Route:
    """A Prefix route to a pool."""
    values: dict[str, Any] = {
        "id": f"default/test {host} {path} Prefix",
        "host": host,
        "path": path,
        "path_type": PREFIX,
        "namespace": "default",
        "ingress": "test",
        "pool": pool,
        "service": "app",
        "port": "80",
        "file": "test.yaml",
        "line": 1,
    }
    return Route(**{**values, **more})


def snapshot(
    ports: Sequence[int],
    *,
    routes: Sequence[Route] | None = None,
    generation: int = 1,
    certificates: Mapping[str, Certificate] | None = None,
    default_certificate: Certificate | None = None,
    **pool: Any,
) -> Snapshot:
    """One pool `default/app:80` with these backends, and routes to it (by default: everything)."""
    by_host: dict[str, list[Route]] = {}
    for it in routes if routes is not None else [route()]:
        by_host.setdefault(it.host, []).append(it)
    endpoints = tuple(Endpoint("127.0.0.1", port) for port in ports)
    app = Pool(id="default/app:80", namespace="default", service="app", port="80", endpoints=endpoints)
    return Snapshot(
        generation=generation,
        hosts={host: VirtualHost(host, tuple(routes)) for host, routes in by_host.items()},
        pools={app.id: replace(app, **pool)},
        certificates=certificates or {},
        default_certificate=default_certificate,
    )


@dataclass
class Running:
    """A started edge and how to talk to it."""

    edge: Edge
    port: int
    tls_port: int
    log: RecordingLog
    stats: WorkerStats
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw client connection to the HTTP port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        self.clients.append(writer)
        return reader, writer

    async def exchange(self, request: bytes) -> bytes:
        """Send `request`, return everything until the edge closes the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        data = await asyncio.wait_for(reader.read(-1), 20)
        writer.close()
        return data

    async def logged(self, count: int = 1) -> list[Entry]:
        """The log's entries, once there are `count`."""
        async with asyncio.timeout(10):
            while len(self.log.entries) < count:
                await asyncio.sleep(0.005)
        return self.log.entries


def listening() -> socket.socket:
    """A listening socket on a free port of 127.0.0.1."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=128)
    sock.setblocking(False)
    return sock


def _within(table: Snapshot, limits: Limits) -> Snapshot:
    """`table` with the limits in the routes that say nothing of their own, as the compiler does it."""

    def limited(route: Route) -> Route:
        return replace(route, policy=RoutePolicy.of(limits)) if route.policy is DEFAULT_POLICY else route

    hosts = {
        name: replace(host, routes=tuple(map(limited, host.routes)), default=host.default and limited(host.default))
        for name, host in table.hosts.items()
    }
    return replace(table, hosts=hosts, default=table.default and limited(table.default))


@asynccontextmanager
async def running(table: Snapshot, *, limits: Limits | None = None, **settings: Any) -> AsyncIterator[Running]:
    """An edge that serves `table` for the time of the block."""
    limits = limits or Limits(loop_lag_s=0.0)  # the test itself is on this loop, too: what it costs is no overload
    log, stats = RecordingLog(), WorkerStats()
    edge = Edge(Settings(limits=limits, access_log="off", **settings), stats, log)
    http, https = listening(), listening()
    edge.publish(_within(table, limits), None)
    it = Running(edge, http.getsockname()[1], https.getsockname()[1], log, stats)
    await edge.start([http], [https])
    try:
        yield it
    finally:
        for writer in it.clients:
            abort(writer)
        await edge.drain(0.2)
        await edge.release()
        log.close()
