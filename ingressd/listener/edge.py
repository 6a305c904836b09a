"""Edge: the data plane of one worker: its listeners, its connections, its exchanges' context.

In: listening sockets and snapshots. Out: traffic, and numbers about it. It never knows how a snapshot came to be.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from ingressd.filters.buckets import Shared
from ingressd.http.forwarded import ForwardedBlock, TrustedProxies
from ingressd.listener.base import Listener
from ingressd.listener.gate import Admission, Gate
from ingressd.listener.http1 import Http1Connection
from ingressd.listener.introductions import ON, Introductions
from ingressd.listener.memory import Memory
from ingressd.listener.overload import Overload
from ingressd.listener.plain import PlainAcceptor
from ingressd.listener.streams import Streams
from ingressd.listener.tls import ContextStore, TlsAcceptor
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stats import WorkerStats
from ingressd.proxy.context import ProxyContext
from ingressd.settings import Settings
from ingressd.table.snapshot import Delta, Snapshot

logger = logging.getLogger(__name__)

_BLOCKS = 512  # of 8 KiB at most


class Edge:
    """Accepts, serves, drains. One per worker; every method is called on its event loop."""

    def __init__(
        self,
        settings: Settings,
        stats: WorkerStats,
        access_log: AccessLog,
        unbound: Callable[[Mapping[str, int]], None] = lambda _: None,
        shared: Shared | None = None,
    ) -> None:
        """`unbound`: see Streams; `shared`: see ProxyContext. Raises StartupError; see introductions.check."""
        self._context = ProxyContext(settings, stats, access_log, asyncio.get_running_loop(), shared)
        self._contexts = ContextStore(settings)
        self._gate = Gate(settings.limits, stats)
        self._overload = Overload(self._context.wheel, settings.limits, Memory().share)
        self._http = _Side(self._context, self._overload, "http")
        self._https = _Side(self._context, self._overload, "https")
        self.streams = Streams(self._context, self._gate, self._overload, unbound)
        self._acceptors: list[PlainAcceptor | TlsAcceptor] = []
        self._introductions: Introductions | None = None
        connection: Callable[[ProxyContext, _Side, int, Admission], Http1Connection] = Http1Connection
        if settings.proxy_protocol == ON:
            self._introductions = Introductions(self._context.loop, settings, stats)
            connection = _introduced
        self._connection = connection

    async def start(self, http: list[socket.socket], https: list[socket.socket]) -> None:
        """Accept on these listening sockets."""
        context = self._context
        loop = context.loop
        context.wheel.start()
        self._overload.start()
        for sock in http:
            sock.setblocking(False)
            factory = partial(self._connection, context, self._http, sock.getsockname()[1])
            self._acceptors.append(
                PlainAcceptor(
                    loop, sock, factory, context.limits, self._gate, context.stats, introductions=self._introductions
                )
            )
        for sock in https:
            sock.setblocking(False)
            self._acceptors.append(
                TlsAcceptor(
                    loop,
                    sock,
                    self._contexts,
                    _without_name(partial(self._connection, context, self._https, sock.getsockname()[1])),
                    context.limits,
                    self._gate,
                    context.stats,
                    introductions=self._introductions,
                    carry=self.streams.carry,
                )
            )
        for acceptor in self._acceptors:
            acceptor.start()

    def publish(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Serve `snapshot`; `delta`, when given, is what changed since the one before."""
        self._contexts.update(snapshot.certificates, snapshot.default_certificate)
        self._contexts.hosts.follow(snapshot, delta)
        self._context.publish(snapshot, delta)

    async def listen(self, snapshot: Snapshot, delta: Delta | None) -> Mapping[str, int]:
        """Open the ports of Services, after `publish` of the same; the errno of those that could not be, by key."""
        await self.streams.follow(snapshot.streams, None if delta is None else delta.streams)
        return dict(self.streams.unbound)

    async def retire(self, idle_s: float) -> None:
        """Accept no more, and let each connection carry one more request within `idle_s`; then `drain`.

        For a worker whose place another one has taken: a client that sends its next request in the moment in which
        its idle connection is closed loses it.
        """
        for acceptor in self._acceptors:
            acceptor.stop()
        self.streams.close()
        for side in (self._http, self._https):
            side.retire(self._context.limits.keepalive_requests)
        with suppress(TimeoutError):
            async with asyncio.timeout(idle_s):
                await self._gate.empty.wait()

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, let what is in progress finish for at most `timeout_s` seconds, then close."""
        for acceptor in self._acceptors:
            acceptor.stop()
        self.streams.close()
        sides = (self._http, self._https)
        for side in sides:
            side.drain()
        try:
            async with asyncio.timeout(timeout_s):
                await self._gate.empty.wait()
        except TimeoutError:
            logger.warning("drain timeout: cutting %d connections", self._gate.count)
        for acceptor in self._acceptors:
            acceptor.cut()
        if self._introductions is not None:
            self._introductions.cut()
        for side in sides:
            side.cut()
        self.streams.cut()
        self.close()

    def close(self) -> None:
        """Stop the clock and close what is idle."""
        for task in self._context.tasks:
            task.cancel()
        self._context.registry.close()
        self._context.wheel.stop()

    async def release(self) -> None:
        """End what filters do beside requests. After `close`."""
        await self._context.services.close()

    def statistics(self) -> dict[str, int]:
        """Open connections by scheme."""
        return {"http": len(self._http.connections), "https": len(self._https.connections)}

    def upstreams(self) -> list[dict[str, object]]:
        """Pools with their endpoints' counters, as this worker sees them."""
        return self._context.registry.statistics()


class _Side:
    """All connections of one scheme. Implements listener.http1.Listener."""

    def __init__(self, context: ProxyContext, overload: Overload, scheme: str) -> None:
        self.scheme = scheme
        self.overload = overload
        self.connections: set[Http1Connection] = set()
        self._stats = context.stats
        self._draining = False
        self._trusted = TrustedProxies(context.settings.trusted_proxies)
        self.forwarded_header = context.settings.forwarded_header
        self._blocks: dict[tuple[str, int], ForwardedBlock] = {}
        """By client and local port: most connections are of a client that has been here."""

    def forwarded_block(self, client_address: str, local_port: int) -> ForwardedBlock:
        key = (client_address, local_port)
        block = self._blocks.get(key)
        if block is None:
            block = ForwardedBlock(
                self._trusted, client_address, self.scheme, local_port, forwarded=self.forwarded_header
            )
            if not block.trusted:  # what a trusted peer has said last is kept for each of its connections
                if len(self._blocks) >= _BLOCKS:
                    self._blocks.clear()
                self._blocks[key] = block
        return block

    def opened(self, connection: Http1Connection) -> None:
        self.connections.add(connection)
        self._stats.connections_open += 1
        self._stats.connections_total += 1
        if self._draining:
            connection.closing = True

    def closed(self, connection: Http1Connection) -> None:
        self.connections.discard(connection)
        self._stats.connections_open -= 1

    def retire(self, last_request: int) -> None:
        """Every connection carries one more request at most, and the answer to it says so."""
        self._draining = True
        for connection in self.connections:
            if connection.requests:
                # An answer on its way may have promised to keep the connection: `closing` would break that.
                connection.requests = last_request
            else:
                connection.closing = True

    def drain(self) -> None:
        self._draining = True
        for connection in tuple(self.connections):
            connection.drain()

    def cut(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()


class _Unnamed:
    """A side, for connections of which nobody has said whose they are. Implements listener.http1.Listener."""

    def __init__(self, side: _Side) -> None:
        self.scheme = side.scheme
        self.overload = side.overload
        self.opened = side.opened
        self.closed = side.closed
        self._forwarded_header = side.forwarded_header

    def forwarded_block(self, client_address: str, local_port: int) -> ForwardedBlock:
        return ForwardedBlock(
            TrustedProxies(), client_address, self.scheme, local_port, forwarded=self._forwarded_header
        )


def _introduced(context: ProxyContext, side: _Side, local_port: int, admission: Admission) -> Http1Connection:
    """A connection of a port on which proxies may say whose it is."""
    listener: Listener = side if admission.named else _Unnamed(side)
    return Http1Connection(context, listener, admission.local_port or local_port, admission)


def _without_name(factory: Callable[[Admission], Http1Connection]) -> Callable[[str, Admission], Http1Connection]:
    """HTTP/1.1 does not care for the server name of TLS."""
    return lambda _, admission: factory(admission)
