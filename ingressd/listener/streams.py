"""Streams: every Service port that a worker has open.

In: the stream listeners of a snapshot. Out: ports that open and close as they come and go, while connections live on;
which could not be opened, and why. Those are tried again every few seconds.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Mapping

from ingressd.listener.datagram import UdpPort
from ingressd.listener.gate import Admission, Gate
from ingressd.listener.overload import Overload
from ingressd.listener.port import open_port
from ingressd.listener.stream import Carried, StreamConnection, StreamContext, TcpPort
from ingressd.proxy.context import ProxyContext
from ingressd.table.stream import TCP, StreamListener

logger = logging.getLogger(__name__)

RETRY_S = 3.0
"""How long a port that could not be opened is left alone."""
_AT_ONCE = 50
"""Ports that are opened or closed while others on the loop wait: about a millisecond."""
_REST_S = 0.5
_COMPLAINT_GAP_S = 60.0


class Streams:
    """One per worker. Implements gate.Accepting."""

    def __init__(
        self,
        proxy: ProxyContext,
        gate: Gate,
        overload: Overload,
        changed: Callable[[Mapping[str, int]], None] = lambda _: None,
    ) -> None:
        """`changed` is told the errno of each port that is not open, by key, when a retry has changed them."""
        self.connections: set[StreamConnection] = set()
        self.unbound: dict[str, int] = {}
        """The errno of each listener that could not be opened, by key."""
        self._context = StreamContext(proxy, gate, overload, self.connections, self._exhausted)
        self._gate = gate
        self._loop = proxy.loop
        self._changed = changed
        self._wanted: Mapping[str, StreamListener] = {}
        self._settled = True
        """The last call of `follow` came to its end."""
        self._ports: dict[str, TcpPort | UdpPort] = {}
        self._paused = False
        self._closed = False
        self._rest: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._next_complaint = self._loop.time()
        gate.guard(self)

    async def follow(self, wanted: Mapping[str, StreamListener], changed: Iterable[str] | None = None) -> None:
        """Have these open, and no others. `changed`: the keys that may differ from the last call; None = all.

        Returns when every port is open, or in `unbound`.
        """
        if self._closed:
            return
        self._wanted = wanted
        keys = changed if changed is not None and self._settled else {*self._ports, *self.unbound, *wanted}
        self._settled = False
        # First those that go: what comes may be another address of the same port.
        for number, key in enumerate([key for key in keys if key not in wanted], 1):
            self._drop(key)
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
        for number, key in enumerate([key for key in keys if key in wanted], 1):
            if self._closed or self._wanted is not wanted:
                return
            self._have(wanted[key])
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
        self._settled = True
        self._gate.reserve(len(self._ports))
        self._plan_retry()

    def carry(self, listener: StreamListener, sock: socket.socket, admission: Admission) -> None:
        """Pass a connection on that another listener has accepted."""
        carried = Carried(listener, self._context.proxy.stats.streams.of(listener))
        peer = (admission.address, admission.port)
        StreamConnection(self._context, carried, sock, peer, admission).start()

    def pause(self) -> None:
        """Leave new connections in the backlog; see gate.Accepting."""
        self._paused = True
        self._watch()

    def resume(self) -> None:
        """Accept again after `pause`."""
        self._paused = False
        self._watch()

    def close(self) -> None:
        """Close every port for good; connections go on."""
        self._closed = True
        for timer in (self._rest, self._retry):
            if timer is not None:
                timer.cancel()
        for port in self._ports.values():
            port.close()
        self._ports.clear()
        self.unbound.clear()

    def cut(self) -> None:
        """End every connection."""
        for connection in tuple(self.connections):
            connection.cut()

    def measure(self) -> None:
        """Count what has passed on connections and flows that go on."""
        for connection in self.connections:
            connection.measure()
        for port in self._ports.values():
            if isinstance(port, UdpPort):
                port.measure()

    def statistics(self) -> dict[str, int]:
        """What is open."""
        udp = [port for port in self._ports.values() if isinstance(port, UdpPort)]
        return {
            "tcp_listeners": len(self._ports) - len(udp),
            "udp_listeners": len(udp),
            "unbound": len(self.unbound),
            "connections": len(self.connections),
            "flows": sum(len(port) for port in udp),
        }

    def _have(self, listener: StreamListener) -> None:
        port = self._ports.get(listener.key)
        if port is not None:
            port.follow(listener)
            return
        try:
            sock = open_port(listener)
        except OSError as problem:
            self.unbound[listener.key] = problem.errno or errno.EIO
            return
        self.unbound.pop(listener.key, None)
        kind = TcpPort if listener.protocol == TCP else UdpPort
        port = self._ports[listener.key] = kind(self._context, listener, sock)
        port.watch(self._accepts(port))

    def _drop(self, key: str) -> None:
        self.unbound.pop(key, None)
        port = self._ports.pop(key, None)
        if port is not None:
            port.close()

    def _accepts(self, port: TcpPort | UdpPort) -> bool:
        """Places and descriptors are for connections: datagrams are read all the time."""
        return isinstance(port, UdpPort) or not (self._paused or self._rest)

    def _watch(self) -> None:
        for port in self._ports.values():
            port.watch(self._accepts(port))

    def _exhausted(self, problem: OSError) -> None:
        self._context.proxy.stats.accept_pauses_total += 1
        if self._rest is None:
            self._rest = self._loop.call_later(_REST_S, self._rested)
            self._watch()
        now = self._loop.time()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_GAP_S
            way_out = " (raise the limit: ulimit -n, LimitNOFILE=)" if problem.errno == errno.EMFILE else ""
            logger.error("cannot accept connections to Services: %s%s", problem.strerror, way_out)

    def _rested(self) -> None:
        self._rest = None
        self._watch()

    def _plan_retry(self) -> None:
        if self.unbound and self._retry is None and not self._closed:
            self._retry = self._loop.call_later(RETRY_S, self._again)

    def _again(self) -> None:
        self._retry = None
        before = dict(self.unbound)
        for key in list(before)[:_AT_ONCE]:
            del self.unbound[key]  # to the end: the others have their turn next time
            if key in self._wanted:
                self._have(self._wanted[key])
        if self.unbound != before:
            self._changed(dict(self.unbound))
        self._plan_retry()
