"""UDP at layer 4: a Service's port, and the flows of datagrams that are passed on from it.

In: a bound socket. Out: datagrams to endpoints, replies to clients from the address that they had sent to. A flow is
what one client sends to one address; it stays with its endpoint until it is silent for as long as conntrack would wait.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ingressd.clock import NEVER
from ingressd.errors import Reason
from ingressd.filters.address_ranges import among
from ingressd.listener.gate import plain_address
from ingressd.listener.port import IP_PKTINFO, IPV6_PKTINFO
from ingressd.listener.stream import StreamContext, sources_of
from ingressd.observe.stream_stats import Meter, StreamCount
from ingressd.table.stream import StreamListener
from ingressd.upstream.dial import DialFailed
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.raw_dial import udp_socket

UNREPLIED_S = 30.0
"""How long a flow lives whose endpoint has said nothing yet (nf_conntrack_udp_timeout)."""

_AT_ONCE = 64  # others on the loop wait meanwhile, as in plain.py
_DATAGRAM_BYTES = 65_535
_ANCILLARY_BYTES = socket.CMSG_SPACE(16) + socket.CMSG_SPACE(20)

Ancillary = tuple[int, int, bytes]
Local = tuple[Ancillary, ...]
"""Whom a datagram was for, as sendmsg(2) takes it for the reply; empty when the socket has one address only."""


class UdpPort:
    """One bound socket with its flows, the one that was silent longest first."""

    __slots__ = ("_any", "_context", "_flows", "_sock", "_sources", "_watching", "count", "listener")

    def __init__(self, context: StreamContext, listener: StreamListener, sock: socket.socket) -> None:
        self.listener = listener
        self.count: StreamCount = context.proxy.stats.streams.of(listener)
        self._context = context
        self._sock = sock
        self._sources = sources_of(listener)
        self._any = listener.address in ("0.0.0.0", "::")  # noqa: S104 - compared with
        self._flows: OrderedDict[tuple[Any, Local], Flow] = OrderedDict()
        self._watching = False

    def __len__(self) -> int:
        return len(self._flows)

    def follow(self, listener: StreamListener) -> None:
        """Flows that begin from now on go where this one says; others too, if they went elsewhere."""
        moved = listener.pool != self.listener.pool
        self.listener = listener
        self.count = self._context.proxy.stats.streams.of(listener)
        self._sources = sources_of(listener)
        if moved:
            self._end_flows("")
        elif self._sources is not None:
            for flow in tuple(self._flows.values()):
                if not among((self._sources,), flow.client_address):
                    flow.end(Reason.DENIED_IP)

    def watch(self, wanted: bool) -> None:
        """Read, or let the kernel keep what it can."""
        if wanted and not self._watching:
            self._context.proxy.loop.add_reader(self._sock, self._read)
        elif self._watching and not wanted:
            self._context.proxy.loop.remove_reader(self._sock)
        self._watching = wanted

    def close(self) -> None:
        """Pass on what has come, then end every flow: nothing could be replied from this address any more."""
        if self._watching:
            self._read()
        self.watch(False)
        self._end_flows(Reason.DRAINING)
        self._sock.close()

    def reply(self, data: bytes, client: Any, local: Local) -> None:
        """Send to a client. What the kernel does not take is lost, as datagrams may be."""
        with suppress(OSError):
            if local:
                self._sock.sendmsg((data,), local, 0, client)
            else:
                self._sock.sendto(data, client)

    def measure(self) -> None:
        """Count what has passed."""
        for flow in self._flows.values():
            flow.measure()

    def forget(self, flow: Flow) -> None:
        """A flow is over."""
        del self._flows[flow.client, flow.local]

    def make_room(self) -> bool:
        """End the flow that was silent longest. False: there is none."""
        if not self._flows:
            return False
        next(iter(self._flows.values())).end(Reason.OVERLOAD)
        return True

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._watching:
                return
            try:
                data, local, client = self._receive()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # what an earlier reply met: of no concern to this datagram
            key = (client, local)
            flow = self._flows.get(key)
            if flow is None:
                if self._context.overload.reply is not None:
                    continue
                if self._sources is not None and not among((self._sources,), plain_address(client[0])):
                    self.count.failures += 1
                    continue
                if len(self._flows) >= max(1, self._context.proxy.limits.udp_flows):
                    self.make_room()
                flow = self._flows[key] = Flow(self._context, self, client, local)
            else:
                self._flows.move_to_end(key)
            flow.send(data)

    def _receive(self) -> tuple[bytes, Local, Any]:
        if not self._any:
            data, client = self._sock.recvfrom(_DATAGRAM_BYTES)
            return data, (), client
        data, ancillary, _, client = self._sock.recvmsg(_DATAGRAM_BYTES, _ANCILLARY_BYTES)
        return data, _local(ancillary), client

    def _end_flows(self, reason: str) -> None:
        for flow in tuple(self._flows.values()):
            flow.end(reason)


class Flow:
    """What one client sends, and what comes back. Implements clock.Timed, balancing.base.Request and StreamEntry."""

    __slots__ = (
        "_context",
        "_count",
        "_endpoint",
        "_meter",
        "_port",
        "_replied",
        "_sock",
        "_tried",
        "attempts",
        "began",
        "bytes_in",
        "bytes_out",
        "client",
        "client_address",
        "client_port",
        "deadline",
        "duration_s",
        "listener",
        "local",
        "reason",
        "started_at",
        "upstream_address",
        "wheel_tick",
    )

    host = ""

    def __init__(self, context: StreamContext, port: UdpPort, client: Any, local: Local) -> None:
        self.deadline = NEVER
        self.wheel_tick = 0
        self.client = client
        self.local = local
        self.listener = port.listener
        self.client_address = plain_address(client[0])
        self.client_port: int = client[1]
        self.began = time.monotonic()
        self.started_at = time.time()
        self.duration_s = 0.0
        self.reason = ""
        self.attempts = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.upstream_address = ""
        self._context = context
        self._port = port
        self._count = port.count
        self._meter = Meter(port.count)
        self._endpoint: EndpointState | None = None
        self._sock: socket.socket | None = None
        self._tried: list[EndpointState] = []
        """Endpoints that refused since one has answered."""
        self._replied = False
        self._count.began()
        context.proxy.wheel.arm(self, self._patience_s)

    def send(self, data: bytes) -> None:
        """One datagram of the client."""
        self.bytes_in += len(data)
        self.deadline = self._context.proxy.wheel.now + self._patience_s
        endpoint = self._endpoint
        if endpoint is not None and not endpoint.references:
            self._leave()  # no Service has it any more: kube-proxy forgets such flows, too
        # A refusal that is reported now was of an earlier datagram: this one is for somebody else.
        while self._sock is not None or self._choose():
            assert self._sock is not None
            try:
                self._sock.send(data)
                return
            except ConnectionRefusedError:
                self._refused()
            except OSError:
                return  # too large, or no room: lost, as datagrams may be

    def on_deadline(self) -> None:
        """Silent for too long."""
        self.end("")

    def measure(self) -> None:
        """Count what has passed."""
        self._meter.read(self.bytes_in, self.bytes_out)

    def end(self, reason: str) -> None:
        """It is over: logged and counted."""
        self.deadline = NEVER
        self.reason = reason or self.reason
        self.duration_s = time.monotonic() - self.began
        self._leave()
        self._port.forget(self)
        self.measure()
        self._count.ended()
        self._context.proxy.access_log.write_stream(self)

    @property
    def _patience_s(self) -> float:
        idle_s = self.listener.udp_idle_s
        return idle_s if self._replied else min(UNREPLIED_S, idle_s)

    def _choose(self) -> bool:
        """Find an endpoint that can be sent to. When all have refused, the next datagram begins anew."""
        proxy = self._context.proxy
        pool = proxy.registry.pools.get(self.listener.pool)
        while pool is not None:
            endpoint = pool.pick(self._tried, self)
            if endpoint is None:
                break
            self._tried.append(endpoint)
            self.attempts += 1
            self.upstream_address = endpoint.key
            try:
                self._sock = self._open(endpoint)
            except DialFailed as failed:
                self._count.failures += 1
                self.reason = failed.reason
                continue
            self._endpoint = endpoint
            endpoint.active += 1
            proxy.loop.add_reader(self._sock, self._read)
            return True
        self.reason = self.reason or Reason.NO_ENDPOINTS
        self._tried.clear()
        return False

    def _open(self, endpoint: EndpointState) -> socket.socket:
        try:
            return udp_socket(endpoint)
        except DialFailed as failed:
            # Another flow's descriptor, unless this flow is the only one.
            if failed.reason is not Reason.OVERLOAD or len(self._port) < 2 or not self._port.make_room():
                raise
        return udp_socket(endpoint)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            if self._sock is None:
                return
            try:
                data = self._sock.recv(_DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionRefusedError:
                self._refused()
                return
            except OSError:
                continue
            self._replied = True
            if self._endpoint is not None and self._endpoint.suspect:
                self._endpoint.judge(200, time.monotonic())
            self.reason = ""
            self._tried.clear()
            self.bytes_out += len(data)
            self.deadline = self._context.proxy.wheel.now + self.listener.udp_idle_s
            self._port.reply(data, self.client, self.local)

    def _refused(self) -> None:
        """Nobody listens there (ICMP port unreachable)."""
        if self._endpoint is not None:
            self._endpoint.failed(time.monotonic())
            if self._endpoint not in self._tried:
                self._tried.append(self._endpoint)
        self._count.failures += 1
        self.reason = Reason.CONNECT_REFUSED
        self._leave()

    def _leave(self) -> None:
        """Have no endpoint."""
        if self._sock is not None:
            self._context.proxy.loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        if self._endpoint is not None:
            self._endpoint.active -= 1
            self._endpoint = None


def _local(ancillary: Sequence[Ancillary]) -> Local:
    """The address of ours that a datagram came to; the interface is the routing table's to choose (ip(7), ipv6(7))."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _, specific, _ = struct.unpack_from("=i4s4s", data)
            return ((socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", 0, specific, b"\0\0\0\0")),)
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO):
            return ((socket.IPPROTO_IPV6, IPV6_PKTINFO, data[:16] + struct.pack("=i", 0)),)
    return ()
