"""Http1Connection: one client connection, request after request.

Bytes enter from the transport; heads become Exchanges, body bytes go to the exchange in progress. Requests
are answered in order, one at a time. It never knows routes or endpoints.

Longer than other modules on purpose: what each event of the transport means in each state stands in one place.
"""

from __future__ import annotations

import asyncio
import select
from typing import cast

from aiohttp.base_protocol import BaseProtocol

from ingressd.clock import NEVER
from ingressd.errors import LocalReply, Reason
from ingressd.http.client_certificate import ClientTls
from ingressd.http.codec import RequestHead, RequestHeadReader
from ingressd.http.forwarded import ForwardedBlock
from ingressd.http.framing import BodyDecoder
from ingressd.listener.base import Listener, State
from ingressd.listener.client_tls import client_tls_of
from ingressd.listener.gate import Admission
from ingressd.listener.pace import LOOKS, AnswerPace, BodyPace
from ingressd.listener.plain import reset_when_closed, unsent_bytes
from ingressd.proxy.context import ProxyContext
from ingressd.proxy.exchange import Exchange
from ingressd.proxy.outcome import Outcome

_LINGER_S = 2.0
_LINGER_BYTES = 256 * 1024
_IDLE_S = 1.0  # then the parser goes, a third of what an idle connection holds; a new one costs 2 us
_LOOK_S = 1.0
_GONE = select.POLLERR | select.POLLHUP
_SENDS_NO_MORE = getattr(select, "POLLRDHUP", 0)  # Linux
_HEAD_END = b"\r\n\r\n"
# Globals: a name of the module is found faster than one of an enumeration.
_HEAD, _EXCHANGE, _DISCARD, _TUNNEL, _LINGER = tuple(State)


class Http1Connection(BaseProtocol):
    """The client's side of HTTP/1.1. Implements proxy.Downstream."""

    __slots__ = (
        "_admission",
        "_ahead",
        "_answer_pace",
        "_body_held",
        "_body_pace",
        "_client_tls",
        "_context",
        "_decoder",
        "_discarded_bytes",
        "_exchange",
        "_held",
        "_idle_until",
        "_input_paused",
        "_listener",
        "_pumping",
        "_reader",
        "_state",
        "_written_bytes",
        "client_address",
        "client_port",
        "closing",
        "deadline",
        "forwarded",
        "local_port",
        "requests",
        "scheme",
        "stalled",
        "wheel_tick",
    )

    def __init__(self, context: ProxyContext, listener: Listener, local_port: int, admission: Admission) -> None:
        super().__init__(context.loop)
        self.scheme = listener.scheme
        self.client_address = admission.address
        self.client_port = admission.port
        self.forwarded: ForwardedBlock
        self.closing = False
        """No request after this one: the worker drains, or the connection has carried enough."""
        self.requests = 0
        self.stalled = False
        self.deadline = NEVER
        self.wheel_tick = 0
        self._context = context
        self._listener = listener
        self.local_port = local_port
        self._admission = admission
        self._reader: RequestHeadReader | None = None
        """Only while heads come."""
        self._state = _HEAD
        self._exchange: Exchange | None = None
        self._decoder: BodyDecoder | None = None
        self._held = b""
        """What came ahead of its turn."""
        self._ahead = 0
        """Requests in it, or somewhat more: ends of heads."""
        self._pumping = False
        self._idle_until = 0.0
        self._input_paused = False
        self._discarded_bytes = 0
        self._written_bytes = 0
        self._body_pace: BodyPace | None = None
        """Of the request body that is being read."""
        self._body_held = False
        self._answer_pace: AnswerPace | None = None
        """While the client has more to read than it takes."""
        self._client_tls: ClientTls | None = None

    def __repr__(self) -> str:
        peer = f"{self.client_address}:{self.client_port}"
        return f"<Http1Connection {peer} {self._state.name} requests={self.requests}>"

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # Not super(): the listening socket has handed TCP_NODELAY down, and setting it once more costs 3 us.
        self.transport = transport = cast(asyncio.Transport, transport)
        limits = self._context.limits
        self.forwarded = self._listener.forwarded_block(self.client_address, self.local_port)
        transport.set_write_buffer_limits(high=limits.buffer_high_bytes, low=limits.buffer_low_bytes)
        self._listener.opened(self)
        self._await_head(limits.request_head_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self.deadline = NEVER
        self._admission.end()
        self._listener.closed(self)
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            exchange.client_gone()
        # The wheel keeps this object until its deadline would have been: it must not keep what came, too.
        self._held = b""
        self._reader = None
        self._decoder = None

    def eof_received(self) -> bool:
        """See asyncio.Protocol. Outside a tunnel, a client that stops sending is taken to be gone (as nginx does)."""
        if self._state is _TUNNEL and self._exchange is not None and self.scheme == "http":
            self._exchange.tunnel_client_eof()
            return True
        self.close()
        return False

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        state = self._state
        if state is _HEAD:
            self._read(data)
        elif state is _EXCHANGE:
            exchange = self._exchange
            if exchange is not None and not exchange.body_complete:
                self._read_body(exchange, data)
            else:
                self._hold(data)
        elif state is _TUNNEL:
            if self._exchange is not None:
                self._exchange.tunnel_client_data(data)
        elif state is _DISCARD:
            self._discard(data)
        else:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _LINGER_BYTES:
                # Whatever it still sends stays in the kernel, until the answer is out or the client stuck.
                self._pause_transport_reading()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client reads too slowly."""
        super().pause_writing()
        self.stalled = True
        if self._body_pace is not None:
            self._body_pace.hold(self._context.wheel.now)
        self._watch_output()
        if self._exchange is not None:
            self._exchange.client_stalled()

    def resume_writing(self) -> None:
        """See asyncio.Protocol: the client reads again."""
        super().resume_writing()
        self.stalled = False
        if self._exchange is not None:
            self.deadline = NEVER
            if not self._body_held:
                self._go_on_reading()
            if self._input_paused:
                self._context.wheel.arm(self, _LOOK_S)
            self._exchange.client_writable()
        elif self._state is _HEAD:
            following, self._held = self._held, b""
            self._next(following)
        elif self._state is _DISCARD:
            self._context.wheel.arm(self, self._context.limits.request_body_gap_s)

    def on_deadline(self) -> None:
        """The client was too slow, in the way that the state says."""
        state = self._state
        exchange = self._exchange
        if self.stalled or state is _LINGER or (self.transport is not None and self.transport.is_closing()):
            self._on_write_gap()
        elif state is _HEAD and self._reader is not None and not self._reader.idle:
            self._refuse(LocalReply(408, Reason.REQUEST_TIMEOUT, "the request head took too long", close=True))
        elif state is _HEAD and (left_s := self._idle_until - self._context.wheel.now) > 0:
            self._reader = None
            self._context.wheel.arm(self, left_s)
        elif exchange is not None and (state is _TUNNEL or self._body_held or exchange.body_complete):
            self._look_for_client()
        elif state is _EXCHANGE and exchange is not None:
            if exchange.body_awaited and self._body_pace is not None and not self._body_pace.begun:
                # We have not asked for the body yet (RFC 9110 section 10.1.1).
                self._body_pace.restart(self._context.wheel.now)
                self._watch_input()
            else:
                exchange.fail(LocalReply(408, Reason.REQUEST_TIMEOUT, "the request body took too long", close=True))
        else:
            self.close()

    def _look_for_client(self) -> None:
        """Whether it is still there, while we do not read: no event tells of a client then that leaves."""
        transport = self.transport
        if transport is None or not self._input_paused:
            return
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), _SENDS_NO_MORE)
        # Who finishes sending into a tunnel may still read.
        gone = _GONE if self._state is _TUNNEL else _GONE | _SENDS_NO_MORE
        if any(events & gone for _, events in poll.poll(0)):
            self.close()
        else:
            self._context.wheel.arm(self, _LOOK_S)

    def _pause_transport_reading(self) -> None:
        self._input_paused = True
        super()._pause_transport_reading()

    def _resume_transport_reading(self) -> None:
        self._input_paused = False
        super()._resume_transport_reading()

    # Heads

    def _read(self, data: bytes) -> None:
        """Serve requests from `data` until one has to wait, or a head is not whole."""
        self._pumping = True
        reader = self._reader
        if reader is None:
            reader = self._reader = RequestHeadReader(self._context.limits, self._context.loop)
        while data:
            if self.stalled:
                # Answers must not pile up for a client that does not read them.
                self._hold(data)
                self._pause_transport_reading()
                break
            was_idle = not reader.partial
            try:
                head = reader.feed(data)
            except LocalReply as reply:
                self._refuse(reply)
                break
            if head is None:
                if was_idle and reader.partial:
                    wheel, head_s = self._context.wheel, self._context.limits.request_head_s
                    # The time for the first head has begun with the connection.
                    wheel.arm(self, head_s if self.requests else max(0.0, self._idle_until - wheel.now))
                break
            self._held = reader.leftover
            reader.leftover = b""
            self._serve(head)
            if self._state is not _HEAD:
                break
            data, self._held = self._held, b""
        self._pumping = False

    def _serve(self, head: RequestHead) -> None:
        """Start an exchange, and give it what came behind its head."""
        self.requests += 1
        if self.requests >= self._context.limits.keepalive_requests:
            self.closing = True
        self.deadline = NEVER
        self._state = _EXCHANGE
        self._exchange = exchange = Exchange(self._context, self, head)
        overload = self._listener.overload.reply
        if overload is not None:
            exchange.refuse(overload)
            return
        exchange.begin()
        if exchange.decoder is None:  # most requests have no body
            if self._held and self._state is _EXCHANGE:
                data, self._held = self._held, b""
                self._hold(data)
            return
        waiting = self._state is _EXCHANGE
        if waiting and not exchange.body_complete:
            self._body_pace = BodyPace(self._context.wheel.now)
        if self._held and (waiting or not exchange.body_complete):
            data, self._held = self._held, b""
            self.data_received(data)
        if not exchange.body_complete and self._state is _EXCHANGE:
            self._watch_input()

    def _refuse(self, reply: LocalReply) -> None:
        self._state = _EXCHANGE
        self._exchange = exchange = Exchange(self._context, self, None)
        exchange.refuse(reply)

    def _hold(self, data: bytes) -> None:
        """Keep what a client sends ahead of its turn (RFC 9112 section 9.3.2), up to a bound."""
        limits = self._context.limits
        held = self._held
        if not held:
            self._ahead = 0
        self._ahead += (held[-3:] + data).count(_HEAD_END)
        self._held = held + data
        if len(self._held) > limits.buffer_high_bytes or self._ahead >= limits.pipelined_requests:
            self._pause_transport_reading()
            if not self.stalled:
                self._context.wheel.arm(self, _LOOK_S)

    # Bodies

    def _read_body(self, exchange: Exchange, data: bytes) -> None:
        decoder = exchange.decoder
        assert decoder is not None
        if self._body_pace is not None:
            self._body_pace.came(len(data))
        try:
            pieces = decoder.feed(data)
        except LocalReply as reply:
            exchange.fail(reply)
            return
        if decoder.complete:
            self.deadline = NEVER
            if decoder.leftover:
                self._hold(decoder.leftover)
        elif self.deadline != NEVER and not self._body_held:
            self._watch_input()
        exchange.request_body(pieces, decoder.complete)

    def _watch_input(self) -> None:
        """The client has to send something before this deadline."""
        exchange, pace = self._exchange, self._body_pace
        if exchange is not None and pace is not None and not exchange.body_complete and not self.stalled:
            wheel = self._context.wheel
            wheel.arm(self, pace.patience_s(self._context.limits, wheel.now))

    def _go_on_reading(self) -> None:
        """The time counts as the client's again, from here on."""
        if self._body_pace is not None:
            self._body_pace.go_on(self._context.wheel.now)
        self._watch_input()

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

    def _watch_output(self) -> None:
        """The client has to read something within the gap."""
        wheel = self._context.wheel
        self._answer_pace = AnswerPace(self._taken_bytes(), wheel.now)
        wheel.arm(self, self._context.limits.response_write_gap_s / LOOKS)

    def _taken_bytes(self) -> int:
        """What the client's kernel has of all that was written."""
        transport = self.transport
        assert transport is not None
        # The kernel's buffer counts: it takes megabytes, and nothing more until a third of them is gone.
        unsent = transport.get_write_buffer_size() + unsent_bytes(transport.get_extra_info("socket"))
        return self._written_bytes - unsent

    def _on_write_gap(self) -> None:
        """Cut a client that has read nothing for the whole gap, or close what has nothing more to send."""
        transport = self.transport
        if transport is None:
            return
        wheel, gap_s = self._context.wheel, self._context.limits.response_write_gap_s
        if not transport.get_write_buffer_size() and not self.stalled:
            if transport.can_write_eof() or transport.is_closing():
                transport.abort()
            else:
                # TLS cannot close one direction: only now is it time for close_notify.
                transport.close()
                wheel.arm(self, _LINGER_S)
        elif self._answer_pace is None:
            self._watch_output()
        elif not self._answer_pace.stuck(self._taken_bytes(), gap_s, wheel.now):
            wheel.arm(self, gap_s / LOOKS)
        else:
            exchange = self._exchange
            if exchange is not None and exchange.responded:
                exchange.fail(LocalReply(408, Reason.CLIENT_TOO_SLOW, "the client read too slowly", close=True))
            self.abort()

    # The exchange's side (proxy.Downstream)

    @property
    def client_tls(self) -> ClientTls | None:
        """See Downstream. Most connections are never asked."""
        if self._client_tls is None and self.transport is not None:
            self._client_tls = client_tls_of(self.transport.get_extra_info("ssl_object"))
        return self._client_tls

    def write(self, data: bytes) -> None:
        """See Downstream."""
        if self.transport is not None:
            self._written_bytes += len(data)
            self.transport.write(data)

    def hold_body(self) -> None:
        """See Downstream."""
        self._body_held = True
        if self._body_pace is not None:
            self._body_pace.hold(self._context.wheel.now)
        if not self.stalled:
            self._context.wheel.arm(self, _LOOK_S)
        self._pause_transport_reading()

    def resume_body(self) -> None:
        """See Downstream."""
        self._body_held = False
        if not self.stalled:
            self.deadline = NEVER
            self._go_on_reading()
        self._resume_transport_reading()

    def exchange_ended(self, exchange: Outcome, *, keep: bool) -> None:
        """See Downstream."""
        self._exchange = None
        self._body_pace = None
        self._body_held = False
        self.deadline = NEVER
        if self.transport is None:
            return
        if not keep:
            # Without fields, the framing was never read: there may be a body.
            self._finish(linger=not exchange.body_complete or bool(self._held) or exchange.fields is None)
        elif exchange.decoder is None or exchange.body_complete:
            following, self._held = self._held, b""
            self._next(following)
        else:
            self._state = _DISCARD
            self._decoder = exchange.decoder
            self._discarded_bytes = 0
            self._context.wheel.arm(self, self._context.limits.request_body_gap_s)
            self._resume_transport_reading()

    def become_tunnel(self) -> bytes:
        """See Downstream."""
        self._state = _TUNNEL
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
        transport = self.transport
        if transport is not None and transport.is_closing():
            return  # CPython 3.11's TLS transport cannot be asked anything once it was closed twice
        self.deadline = NEVER
        if transport is not None:
            transport.close()
            if transport.get_write_buffer_size():
                self._watch_output()

    def abort(self) -> None:
        """See Downstream."""
        self.deadline = NEVER
        if self.transport is not None:
            reset_when_closed(self.transport.get_extra_info("socket"))
            self.transport.abort()

    def drain(self) -> None:
        """Take no further request: close now if none is in progress and none may be under way."""
        self.closing = True
        if self._state is _HEAD and (self._reader is None or self._reader.idle) and self.requests:
            self.close()

    def _next(self, following: bytes) -> None:
        """Wait for the next request; `following` is what came of it already."""
        self._state = _HEAD
        context = self._context
        if self.closing and not following:
            self.close()
            return
        if following:
            context.wheel.arm(self, context.limits.request_head_s)
        else:
            self._await_head(context.limits.keepalive_idle_s)
        if self._input_paused:
            self._resume_transport_reading()
        if following:
            if self._pumping:
                self._held = following
            else:
                self._read(following)

    def _await_head(self, seconds: float) -> None:
        """Nothing has come of the next head; something has to within this time.

        The first look comes soon: a connection that has gone is held by the wheel until then.
        """
        wheel = self._context.wheel
        self._idle_until = wheel.now + seconds
        wheel.arm(self, seconds if seconds < _IDLE_S else _IDLE_S)

    def _finish(self, *, linger: bool = True) -> None:
        """Close after the last answer, without letting a reset overtake it (RFC 9112 section 9.6)."""
        transport = self.transport
        if transport is None:
            return
        if not linger:
            self.close()
            return
        self._state = _LINGER
        self._discarded_bytes = 0
        self._context.wheel.arm(self, _LINGER_S)
        if transport.can_write_eof():
            transport.write_eof()
        self._resume_transport_reading()
