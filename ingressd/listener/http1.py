"""Http1Connection: one client connection, request after request.

Bytes enter from the transport; heads become Exchanges, body bytes go to the exchange in progress. Requests
are answered in order, one at a time. It never knows routes or endpoints.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Protocol

from aiohttp.base_protocol import BaseProtocol

from ingressd.clock import NEVER
from ingressd.errors import LocalReply, Reason
from ingressd.http.codec import RequestHead, RequestHeadReader
from ingressd.http.forwarded import ForwardedBlock
from ingressd.http.framing import BodyDecoder
from ingressd.proxy.context import ProxyContext
from ingressd.proxy.exchange import Exchange

_LINGER_S = 2.0
_LINGER_BYTES = 256 * 1024


class State(Enum):
    """What the connection does with the next bytes."""

    HEAD = auto()
    """They belong to the head of the next request."""
    EXCHANGE = auto()
    """They belong to the body of the request in progress, or wait for its end."""
    DISCARD = auto()
    """The answer went out before the body was read: the rest of the body is thrown away, up to a bound."""
    TUNNEL = auto()
    """They are passed on raw."""
    LINGER = auto()
    """The last answer is on its way; what the client still sends is thrown away, so that no reset overtakes it."""


class Listener(Protocol):
    """What a connection needs from whoever accepted it."""

    scheme: str
    """`http` or `https`."""

    def forwarded_block(self, client_address: str, local_port: int) -> ForwardedBlock:
        """The X-Forwarded-* fields of this connection."""

    def opened(self, connection: Http1Connection) -> None:
        """A connection begins."""

    def closed(self, connection: Http1Connection) -> None:
        """A connection is gone."""


class Http1Connection(BaseProtocol):
    """The client's side of HTTP/1.1. Implements proxy.Downstream."""

    __slots__ = (
        "_buffered_bytes",
        "_context",
        "_decoder",
        "_discarded_bytes",
        "_exchange",
        "_held",
        "_listener",
        "_pumping",
        "_reader",
        "_state",
        "client_address",
        "client_port",
        "closing",
        "deadline",
        "forwarded",
        "requests",
        "scheme",
        "stalled",
        "wheel_tick",
    )

    def __init__(self, context: ProxyContext, listener: Listener) -> None:
        super().__init__(context.loop)
        self.scheme = listener.scheme
        self.client_address = ""
        self.client_port = 0
        self.forwarded: ForwardedBlock
        self.closing = False
        """No request after this one: the worker drains, or the connection has carried enough."""
        self.requests = 0
        self.stalled = False
        self.deadline = NEVER
        self.wheel_tick = 0
        self._context = context
        self._listener = listener
        self._reader = RequestHeadReader(context.limits, context.loop)
        self._state = State.HEAD
        self._exchange: Exchange | None = None
        self._decoder: BodyDecoder | None = None
        self._held = b""
        self._pumping = False
        self._discarded_bytes = 0
        self._buffered_bytes = 0

    def __repr__(self) -> str:
        peer = f"{self.client_address}:{self.client_port}"
        return f"<Http1Connection {peer} {self._state.name} requests={self.requests}>"

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        limits = self._context.limits
        peer = transport.get_extra_info("peername") or ("", 0)
        local = transport.get_extra_info("sockname") or ("", 0)
        self.client_address, self.client_port = str(peer[0]), int(peer[1])
        self.forwarded = self._listener.forwarded_block(self.client_address, int(local[1]))
        assert self.transport is not None
        self.transport.set_write_buffer_limits(high=limits.buffer_high_bytes, low=limits.buffer_low_bytes)
        self._listener.opened(self)
        self._context.wheel.arm(self, limits.request_head_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self.deadline = NEVER
        self._listener.closed(self)
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            exchange.client_gone()

    def eof_received(self) -> bool:
        """See asyncio.Protocol. Outside a tunnel, a client that stops sending is taken to be gone (as nginx does)."""
        if self._state is State.TUNNEL and self._exchange is not None and self.scheme == "http":
            self._exchange.tunnel_client_eof()
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        state = self._state
        if state is State.HEAD:
            self._read(data)
        elif state is State.EXCHANGE:
            exchange = self._exchange
            if exchange is not None and not exchange.body_complete:
                self._read_body(exchange, data)
            else:
                self._hold(data)
        elif state is State.TUNNEL:
            if self._exchange is not None:
                self._exchange.tunnel_client_data(data)
        elif state is State.DISCARD:
            self._discard(data)
        else:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _LINGER_BYTES:
                self.close()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client reads too slowly."""
        super().pause_writing()
        self.stalled = True
        self._buffered_bytes = 0
        self._context.wheel.arm(self, self._context.limits.response_write_gap_s)
        if self._exchange is not None:
            self._exchange.client_stalled()

    def resume_writing(self) -> None:
        """See asyncio.Protocol: the client reads again."""
        super().resume_writing()
        self.stalled = False
        if self._exchange is not None:
            self.deadline = NEVER
            self._watch_input()
            self._exchange.client_writable()
        elif self._state is not State.LINGER:
            self._context.wheel.arm(self, self._context.limits.keepalive_idle_s)

    def on_deadline(self) -> None:
        """The client was too slow, in the way that the state says."""
        state = self._state
        if self.stalled or state is State.LINGER:
            self._on_write_gap()
        elif state is State.HEAD and not self._reader.idle:
            self._refuse(LocalReply(408, Reason.REQUEST_TIMEOUT, "the request head took too long", close=True))
        elif state is State.EXCHANGE:
            if self._exchange is not None:
                self._exchange.fail(
                    LocalReply(408, Reason.REQUEST_TIMEOUT, "the request body took too long", close=True)
                )
        else:
            self.close()

    # Heads

    def _read(self, data: bytes) -> None:
        """Serve requests from `data` until one has to wait, or a head is not whole."""
        self._pumping = True
        reader = self._reader
        while data:
            was_idle = reader.idle
            try:
                head = reader.feed(data)
            except LocalReply as reply:
                self._refuse(reply)
                break
            if head is None:
                if was_idle and not reader.idle and self.requests:
                    self._context.wheel.arm(self, self._context.limits.request_head_s)
                break
            self._held = reader.leftover
            self._serve(head)
            if self._state is not State.HEAD:
                break
            data, self._held = self._held, b""
        self._pumping = False

    def _serve(self, head: RequestHead) -> None:
        """Start an exchange, and give it what came behind its head."""
        self.requests += 1
        if self.requests >= self._context.limits.keepalive_requests:
            self.closing = True
        self.deadline = NEVER
        self._state = State.EXCHANGE
        self._exchange = exchange = Exchange(self._context, self, head)
        exchange.begin()
        if self._held and not exchange.body_complete:
            data, self._held = self._held, b""
            self.data_received(data)
        if not exchange.body_complete and self._state is State.EXCHANGE:
            self._watch_input()

    def _refuse(self, reply: LocalReply) -> None:
        self._state = State.EXCHANGE
        self._exchange = exchange = Exchange(self._context, self, None)
        exchange.refuse(reply)

    def _hold(self, data: bytes) -> None:
        """Keep what a client sends ahead of its turn (RFC 9112 section 9.3.2), up to a bound."""
        self._held += data
        if len(self._held) > self._context.limits.buffer_high_bytes:
            self._pause_transport_reading()

    # Bodies

    def _read_body(self, exchange: Exchange, data: bytes) -> None:
        decoder = exchange.decoder
        assert decoder is not None
        try:
            pieces = decoder.feed(data)
        except LocalReply as reply:
            exchange.fail(reply)
            return
        if decoder.complete:
            self.deadline = NEVER
            if decoder.leftover:
                self._hold(decoder.leftover)
        elif self.deadline != NEVER:
            self._watch_input()
        exchange.request_body(pieces, decoder.complete)

    def _watch_input(self) -> None:
        """The client has to send something before this deadline."""
        exchange = self._exchange
        if exchange is not None and not exchange.body_complete and not self.stalled:
            self._context.wheel.arm(self, self._context.limits.request_body_gap_s)

    def _discard(self, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None
        self._discarded_bytes += len(data)
        try:
            decoder.feed(data)
        except LocalReply:
            self._finish()
            return
        if decoder.complete:
            self._decoder = None
            self._next(decoder.leftover)
        elif self._discarded_bytes > self._context.limits.discarded_body_bytes:
            self._finish()

    def _on_write_gap(self) -> None:
        """Cut a client that has read nothing since the last look; the buffer of one that reads shrinks."""
        transport = self.transport
        if transport is None:
            return
        buffered = transport.get_write_buffer_size()
        if not buffered and self._state is State.LINGER:
            if transport.can_write_eof() or transport.is_closing():
                transport.abort()
            else:
                # TLS cannot close one direction: only now is it time for close_notify.
                transport.close()
                self._context.wheel.arm(self, _LINGER_S)
            return
        if self._buffered_bytes and buffered >= self._buffered_bytes:
            self.abort()
            return
        self._buffered_bytes = buffered
        self._context.wheel.arm(self, self._context.limits.response_write_gap_s)

    # The exchange's side (proxy.Downstream)

    def write(self, data: bytes) -> None:
        """See Downstream."""
        if self.transport is not None:
            self.transport.write(data)

    def hold_body(self) -> None:
        """See Downstream."""
        self.deadline = NEVER
        self._pause_transport_reading()

    def resume_body(self) -> None:
        """See Downstream."""
        self._watch_input()
        self._resume_transport_reading()

    def exchange_ended(self, exchange: Exchange, *, keep: bool) -> None:
        """See Downstream."""
        self._exchange = None
        self.deadline = NEVER
        if self.transport is None:
            return
        if not keep:
            self._finish(linger=not exchange.body_complete or bool(self._held) or exchange.head_refused)
        elif exchange.body_complete:
            following, self._held = self._held, b""
            self._next(following)
        else:
            self._state = State.DISCARD
            self._decoder = exchange.decoder
            self._discarded_bytes = 0
            self._context.wheel.arm(self, self._context.limits.request_body_gap_s)
            self._resume_transport_reading()

    def become_tunnel(self) -> bytes:
        """See Downstream."""
        self._state = State.TUNNEL
        self.deadline = NEVER
        held, self._held = self._held, b""
        self._resume_transport_reading()
        return held

    def write_eof(self) -> None:
        """See Downstream."""
        if self.transport is None:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def close(self) -> None:
        """See Downstream."""
        self.deadline = NEVER
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """See Downstream."""
        self.deadline = NEVER
        if self.transport is not None:
            self.transport.abort()

    def drain(self) -> None:
        """Take no further request: close now if none is in progress and none may be under way."""
        self.closing = True
        if self._state is State.HEAD and self._reader.idle and self.requests:
            self.close()

    def _next(self, following: bytes) -> None:
        """Wait for the next request; `following` is what came of it already."""
        self._state = State.HEAD
        context = self._context
        if self.closing and not following:
            self.close()
            return
        context.wheel.arm(self, context.limits.request_head_s if following else context.limits.keepalive_idle_s)
        self._resume_transport_reading()
        if following:
            if self._pumping:
                self._held = following
            else:
                self._read(following)

    def _finish(self, *, linger: bool = True) -> None:
        """Close after the last answer, without letting a reset overtake it (RFC 9112 section 9.6)."""
        transport = self.transport
        if transport is None:
            return
        self._state = State.LINGER
        self._discarded_bytes = 0
        self._context.wheel.arm(self, _LINGER_S)
        if not linger:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        self._resume_transport_reading()
