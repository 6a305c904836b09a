"""TCP at layer 4: a Service's port, and the connections that are passed on from it.

In: a listening socket and what its connections need. Out: each connection joined with one to an endpoint, one line in
the access log at its end. What is spoken on them it never knows.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingressd.errors import Reason
from ingressd.filters.address_ranges import AddressRanges, among
from ingressd.listener.gate import Admission, Gate, plain_address
from ingressd.listener.overload import Overload
from ingressd.listener.plain import reset_when_closed
from ingressd.listener.port import keep_alive
from ingressd.listener.proxy_protocol import encode
from ingressd.listener.splice import Splice
from ingressd.observe.stream_stats import Meter, StreamCount
from ingressd.proxy.context import ProxyContext
from ingressd.table.stream import StreamListener
from ingressd.upstream.dial import DialFailed
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.raw_dial import connect, tcp_socket

_ACCEPTED_AT_ONCE = 64  # others on the loop wait meanwhile, as in plain.py
_DIAL_PATIENCE = 3
"""All attempts of a connection together take as many times the bound of one; endpoints that refuse cost no time."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What all Service ports of a worker share."""

    proxy: ProxyContext
    gate: Gate
    overload: Overload
    connections: set[StreamConnection]
    exhausted: Callable[[OSError], None]
    """No connection can be accepted for want of descriptors: every port rests for a while."""


class TcpPort:
    """One listening socket."""

    __slots__ = ("_context", "_sock", "_sources", "_watching", "count", "listener")

    def __init__(self, context: StreamContext, listener: StreamListener, sock: socket.socket) -> None:
        self.listener = listener
        self.count: StreamCount = context.proxy.stats.streams.of(listener)
        self._sources = sources_of(listener)
        self._context = context
        self._sock = sock
        self._watching = False

    def follow(self, listener: StreamListener) -> None:
        """What comes from now on goes where this one says."""
        self.listener = listener
        self.count = self._context.proxy.stats.streams.of(listener)
        self._sources = sources_of(listener)

    def watch(self, wanted: bool) -> None:
        """Accept, or leave connections in the backlog."""
        if wanted and not self._watching:
            self._context.proxy.loop.add_reader(self._sock, self._accept)
        elif self._watching and not wanted:
            self._context.proxy.loop.remove_reader(self._sock)
        self._watching = wanted

    def close(self) -> None:
        """Serve who has connected already, then refuse."""
        if self._watching:
            self._accept()
        self.watch(False)
        self._sock.close()

    def _accept(self) -> None:
        # Not accept(), as in plain.py.
        accept, family = self._sock._accept, self._sock.family  # type: ignore[attr-defined]
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._watching:
                return
            try:
                number, peer = accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as problem:
                if problem.errno in _EXHAUSTED:
                    self._context.exhausted(problem)
                    return
                continue  # that connection failed before it was accepted (accept(2))
            sock = socket.socket(family, socket.SOCK_STREAM, 0, number)
            sock.setblocking(False)
            admission = self._context.gate.admit(peer)
            if admission is None:
                sock.close()
            else:
                denied = self._sources is not None and not among((self._sources,), admission.address)
                StreamConnection(self._context, self, sock, peer, admission).start(denied=denied)


def sources_of(listener: StreamListener) -> AddressRanges | None:
    """Whose clients it takes; None = everybody's."""
    return AddressRanges.parse(",".join(listener.sources)) if listener.sources else None


@dataclass(frozen=True, slots=True)
class Carried:
    """What a connection goes by that another listener has accepted."""

    listener: StreamListener
    count: StreamCount


class StreamConnection:
    """One client's connection. Implements balancing.base.Request and observe.stream_line.StreamEntry."""

    __slots__ = (
        "_admission",
        "_context",
        "_count",
        "_endpoint",
        "_meter",
        "_over",
        "_sock",
        "_splice",
        "_task",
        "attempts",
        "began",
        "client_address",
        "client_port",
        "duration_s",
        "listener",
        "reason",
        "started_at",
        "upstream_address",
    )

    host = ""

    def __init__(
        self, context: StreamContext, port: TcpPort | Carried, sock: socket.socket, peer: Any, admission: Admission
    ) -> None:
        self.listener = port.listener
        self.client_address = admission.address
        self.client_port: int = peer[1]
        self.began = time.monotonic()
        self.started_at = time.time()
        self.duration_s = 0.0
        self.reason = ""
        self.attempts = 0
        self.upstream_address = ""
        self._context = context
        self._count = port.count
        self._meter = Meter(port.count)
        self._sock = sock
        self._admission = admission
        self._endpoint: EndpointState | None = None
        self._splice: Splice | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def __repr__(self) -> str:
        return f"<StreamConnection {self.client_address}:{self.client_port} -> {self.upstream_address or 'nobody'}>"

    @property
    def bytes_in(self) -> int:
        """From the client."""
        return 0 if self._splice is None else self._splice.downstream.bytes

    @property
    def bytes_out(self) -> int:
        """To the client."""
        return 0 if self._splice is None else self._splice.upstream.bytes

    def start(self, *, denied: bool = False) -> None:
        """Look for an endpoint, unless the port is not for this client."""
        self._context.connections.add(self)
        self._count.began()
        if denied:
            self._refuse(Reason.DENIED_IP)
        elif self._context.overload.reply is not None:
            self._refuse(Reason.OVERLOAD)
        else:
            self._task = self._context.proxy.loop.create_task(self._run())

    def measure(self) -> None:
        """Count what has passed."""
        self._meter.read(self.bytes_in, self.bytes_out)

    def cut(self) -> None:
        """End it now."""
        self.reason = self.reason or Reason.DRAINING
        if self._task is not None:
            self._task.cancel()
            if not self.attempts:  # it has not begun, and what is cancelled then never does
                self._abort(self.reason)
        if self._splice is not None:
            self._splice.cut()

    async def _run(self) -> None:
        try:
            upstream = await self._dial()
            if upstream is None:
                self._refuse(self.reason)
                return
            self.reason = ""
            limits, wheel = self._context.proxy.limits, self._context.proxy.wheel
            self._splice = Splice(self._sock, upstream, limits, wheel, self.listener.idle_s, self._finish)
            if self.listener.proxy_protocol:
                # A new connection's buffer takes it whole.
                upstream.send(encode((self.client_address, self.client_port), self._local()))
            await self._splice.join(self._context.proxy.loop)
        except OSError:  # a side left before the two were joined
            self._abort(Reason.UPSTREAM_RESET)
        except BaseException:
            self._abort(self.reason or Reason.INTERNAL)
            raise
        finally:
            self._task = None

    async def _dial(self) -> socket.socket | None:
        """A connection to the first endpoint that takes one; without one, `reason` says why."""
        context, listener = self._context.proxy, self.listener
        until = self.began + listener.connect_s * _DIAL_PATIENCE
        tried: list[EndpointState] = []
        while True:
            # A reload meanwhile: the endpoints are those of now.
            pool = context.registry.pools.get(listener.pool)
            endpoint = None if pool is None else pool.pick(tried, self)
            if endpoint is None:
                self.reason = self.reason or Reason.NO_ENDPOINTS
                return None
            tried.append(endpoint)
            self.attempts += 1
            self.upstream_address = endpoint.key
            self._hold(endpoint)
            context.stats.upstream_connects_total += 1
            try:
                sock = tcp_socket(endpoint)
                keep_alive(sock)
                await connect(sock, endpoint, listener.connect_s)
            except DialFailed as failed:
                self._hold(None)
                self._count.failures += 1
                self.reason = failed.reason
                if failed.reason is Reason.OVERLOAD or time.monotonic() >= until:
                    return None
            else:
                return sock

    def _local(self) -> tuple[str, int]:
        """The address that the client has connected to."""
        address, port = self._sock.getsockname()[:2]
        return plain_address(address), port

    def _hold(self, endpoint: EndpointState | None) -> None:
        """What the schedulers count as in flight."""
        if self._endpoint is not None:
            self._endpoint.active -= 1
        self._endpoint = endpoint
        if endpoint is not None:
            endpoint.active += 1

    def _refuse(self, reason: str) -> None:
        self.reason = reason
        reset_when_closed(self._sock)
        self._sock.close()
        self._finish()

    def _abort(self, reason: str) -> None:
        """It ends before its bytes could pass."""
        self.reason = reason
        if self._splice is not None:
            self._splice.cut()
        else:
            reset_when_closed(self._sock)
            self._sock.close()
        self._finish()

    def _finish(self) -> None:
        """It is over: logged and counted once, whatever ended it."""
        if self._over:
            return
        self._over = True
        if self._splice is not None:
            self.reason = self.reason or self._splice.reason
        self.duration_s = time.monotonic() - self.began
        self._context.connections.discard(self)
        self._hold(None)
        self._admission.end()
        self.measure()
        self._count.ended()
        self._context.proxy.access_log.write_stream(self)
