"""Edge: the data plane of one worker: its listeners, its connections, its exchanges' context.

In: listening sockets and snapshots. Out: traffic, and numbers about it. It never knows how a snapshot came to be.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from ingressd.http.forwarded import ForwardedBlock, TrustedProxies
from ingressd.listener.http1 import Http1Connection
from ingressd.listener.plain import tune
from ingressd.listener.tls import ContextStore, TlsAcceptor
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stats import WorkerStats
from ingressd.proxy.context import ProxyContext
from ingressd.settings import Settings
from ingressd.table.snapshot import Delta, Snapshot

logger = logging.getLogger(__name__)


class Edge:
    """Accepts, serves, drains. One per worker; every method is called on its event loop."""

    def __init__(self, settings: Settings, stats: WorkerStats, access_log: AccessLog) -> None:
        self._context = ProxyContext(settings, stats, access_log, asyncio.get_running_loop())
        self._contexts = ContextStore(settings)
        self._http = _Side(self._context, "http")
        self._https = _Side(self._context, "https")
        self._servers: list[asyncio.Server] = []
        self._acceptors: list[TlsAcceptor] = []

    async def start(self, http: list[socket.socket], https: list[socket.socket]) -> None:
        """Accept on these listening sockets."""
        context = self._context
        loop = context.loop
        context.wheel.start()
        for sock in http:
            sock.setblocking(False)
            tune(sock, context.limits)
            server = await loop.create_server(lambda: Http1Connection(context, self._http), sock=sock, backlog=4096)
            self._servers.append(server)
        for sock in https:
            sock.setblocking(False)
            acceptor = TlsAcceptor(
                loop, sock, self._contexts, lambda _: Http1Connection(context, self._https), context.limits
            )
            acceptor.start()
            self._acceptors.append(acceptor)

    def publish(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Serve `snapshot`; `delta`, when given, is what changed since the one before."""
        self._contexts.update(snapshot.certificates, snapshot.default_certificate)
        self._context.publish(snapshot, delta)

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, let what is in progress finish for at most `timeout_s` seconds, then close."""
        for server in self._servers:
            server.close()
        for acceptor in self._acceptors:
            acceptor.stop()
        sides = (self._http, self._https)
        for side in sides:
            side.drain()
        try:
            async with asyncio.timeout(timeout_s):
                for acceptor in self._acceptors:
                    await acceptor.empty.wait()
                for side in sides:
                    await side.empty.wait()
        except TimeoutError:
            left = sum(len(side.connections) for side in sides)
            logger.warning("drain timeout: cutting %d connections", left)
        for acceptor in self._acceptors:
            acceptor.cut()
        for side in sides:
            side.cut()
        self.close()

    def close(self) -> None:
        """Stop the clock and close what is idle."""
        for task in self._context.tasks:
            task.cancel()
        self._context.registry.close()
        self._context.wheel.stop()

    def statistics(self) -> dict[str, int]:
        """Open connections by scheme."""
        return {"http": len(self._http.connections), "https": len(self._https.connections)}

    def upstreams(self) -> list[dict[str, object]]:
        """Pools with their endpoints' counters, as this worker sees them."""
        return self._context.registry.statistics()


class _Side:
    """All connections of one scheme. Implements listener.http1.Listener."""

    def __init__(self, context: ProxyContext, scheme: str) -> None:
        self.scheme = scheme
        self.connections: set[Http1Connection] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        self._stats = context.stats
        self._draining = False
        self._trusted = TrustedProxies(context.settings.trusted_proxies)
        self._forwarded_header = context.settings.forwarded_header

    def forwarded_block(self, client_address: str, local_port: int) -> ForwardedBlock:
        return ForwardedBlock(self._trusted, client_address, self.scheme, local_port, forwarded=self._forwarded_header)

    def opened(self, connection: Http1Connection) -> None:
        self.connections.add(connection)
        self.empty.clear()
        self._stats.connections_open += 1
        self._stats.connections_total += 1
        if self._draining:
            connection.closing = True

    def closed(self, connection: Http1Connection) -> None:
        self.connections.discard(connection)
        self._stats.connections_open -= 1
        if not self.connections:
            self.empty.set()

    def drain(self) -> None:
        self._draining = True
        for connection in tuple(self.connections):
            connection.drain()

    def cut(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()
