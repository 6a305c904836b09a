"""UpstreamConnection: one HTTP/1.1 connection to an endpoint, with at most one exchange on it.

Request bytes enter through `send`; response heads and body pieces leave through the ResponseSink. It never
knows routes or clients. A connection that said anything unexpected is never used again.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Protocol

from aiohttp.base_protocol import BaseProtocol

from ingressd.clock import NEVER, Wheel
from ingressd.errors import LocalReply, Reason
from ingressd.http.codec import MalformedResponse, ResponseHead, ResponseHeadReader
from ingressd.http.framing import BodyDecoder, body_decoder, response_framing
from ingressd.settings import Limits
from ingressd.table.policy import RoutePolicy
from ingressd.upstream.endpoint import SERVER_ERROR, EndpointState


class ResponseSink(Protocol):
    """Who gets the response. `ended` means that the connection is no longer theirs."""

    def response_interim(self, head: ResponseHead) -> None:
        """A 1xx response other than 101 (RFC 9110 section 15.2)."""

    def response_started(self, head: ResponseHead, length: int | None, pieces: list[bytes], ended: bool) -> None:
        """The final head with what came of the body. `length`: of the body in bytes; None = not known."""

    def response_body(self, pieces: list[bytes], ended: bool) -> None:
        """More of the body."""

    def response_upgraded(self, head: ResponseHead, data: bytes) -> None:
        """101: from here on both sides are a byte tunnel; `data` came with the head."""

    def tunnel_data(self, data: bytes) -> None:
        """Bytes of a tunnel."""

    def tunnel_eof(self) -> None:
        """The endpoint has finished sending into the tunnel."""

    def tunnel_closed(self) -> None:
        """The endpoint's side of the tunnel is gone."""

    def upstream_failed(self, reason: Reason, detail: str, *, untouched: bool) -> None:
        """The attempt is over. `untouched`: no byte of a response had come."""

    def upstream_stalled(self) -> None:
        """The endpoint reads too slowly: send nothing until `upstream_writable`."""

    def upstream_writable(self) -> None:
        """The endpoint reads again."""


class UpstreamConnection(BaseProtocol):
    """One connection. Idle while `sink` is None."""

    __slots__ = (
        "_decoder",
        "_interim",
        "_limits",
        "_method",
        "_policy",
        "_poll",
        "_reader",
        "_received",
        "_reusable",
        "_sent_all",
        "_sent_at",
        "_tunnel",
        "_upgrade",
        "_wheel",
        "deadline",
        "endpoint",
        "requests",
        "sink",
        "sock",
        "wheel_tick",
    )

    def __init__(
        self,
        endpoint: EndpointState,
        sock: socket.socket,
        limits: Limits,
        wheel: Wheel,
        loop: object,
    ) -> None:
        super().__init__(loop)  # type: ignore[arg-type]
        self.endpoint = endpoint
        self.sock = sock
        self.sink: ResponseSink | None = None
        self.requests = 0
        """Exchanges that this connection has carried."""
        self.deadline = NEVER
        self.wheel_tick = 0
        self._limits = limits
        self._wheel = wheel
        self._reader = ResponseHeadReader(limits, self._loop)
        self._decoder: BodyDecoder | None = None
        self._policy: RoutePolicy | None = None
        self._method = ""
        self._upgrade = False
        self._sent_all = False
        self._sent_at = 0.0
        self._received = False
        self._reusable = False
        self._tunnel = False
        self._interim = 0
        self._poll: select.poll | None = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)

    def __repr__(self) -> str:
        state = "closed" if self.transport is None else "idle" if self.sink is None else "active"
        return f"<UpstreamConnection {self.endpoint.key} {state} requests={self.requests}>"

    # The exchange's side

    def quiet(self) -> bool:
        """Whether an idle connection may be used: it is open and nothing is readable on it.

        Bytes or an end of stream on an idle connection would be taken for the next response. Only a new TLS
        connection may hold something: session tickets come with the end of the handshake.
        """
        if self.transport is None or self._poll is None or (self.endpoint.tls is not None and not self.requests):
            return self.transport is not None
        return not self._poll.poll(0)

    def begin(self, sink: ResponseSink, policy: RoutePolicy, method: str, *, upgrade: bool) -> None:
        """Start an exchange on this idle connection."""
        self.sink = sink
        self._policy = policy
        self._method = method
        self._upgrade = upgrade
        self._received = False
        self._sent_all = False
        self._interim = 0
        self.requests += 1
        self.endpoint.active += 1
        self.deadline = NEVER

    def send(self, data: bytes, *, last: bool) -> None:
        """Send request bytes; `last` when the request ends with them: the wait for the response begins."""
        assert self.transport is not None
        self.transport.write(data)
        if last:
            self._sent_all = True
            self._sent_at = time.monotonic()
            assert self._policy is not None
            self._wheel.arm(self, self._policy.first_byte_s or self._policy.read_gap_s)

    def write(self, data: bytes) -> None:
        """Send bytes into a tunnel."""
        if self.transport is not None:
            self.transport.write(data)

    def write_eof(self) -> None:
        """Finish sending into a tunnel; over TLS that closes it."""
        transport = self.transport
        if transport is None:
            return
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def hold(self) -> None:
        """Stop reading: the client is slow. Its slowness is not this endpoint's: no read timeout runs."""
        self.deadline = NEVER
        if self.transport is not None:
            self._pause_transport_reading()

    def resume(self) -> None:
        """Read on."""
        if self.transport is None:
            return
        if not self._tunnel and self._sent_all and self._policy is not None:
            self._wheel.arm(self, self._policy.read_gap_s)
        self._resume_transport_reading()

    def abandon(self) -> None:
        """End the exchange without its response; the endpoint sees the connection close."""
        if self.sink is not None:
            self._detach()
        self.close()

    def close(self) -> None:
        """Close at once; an exchange on it is not told."""
        if self.sink is not None:
            self._detach()
        self.deadline = NEVER
        if self.transport is not None:
            self.transport.abort()

    # The transport's side

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self.deadline = NEVER
        self._reader.forget()  # the wheel keeps this object until its deadline would have been
        if self.sink is None:
            idle = self.endpoint.idle
            if self in idle:
                idle.remove(self)
            return
        sink = self.sink
        decoder = self._decoder
        if self._tunnel:
            self._detach()
            sink.tunnel_closed()
        elif decoder is not None and exc is None and decoder.ends_with_connection:
            self._reusable = False
            self._decoder = None
            self._detach()
            sink.response_body([], True)
        else:
            self._fail(Reason.UPSTREAM_RESET, "the upstream closed the connection before the end of its response")

    def eof_received(self) -> bool:
        """See asyncio.Protocol. A tunnel may go on in the other direction."""
        if self._tunnel and self.sink is not None and self.endpoint.tls is None:
            self.sink.tunnel_eof()
            return True
        return False

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        if self.sink is not None:
            if self._policy is not None and not self._tunnel:
                self._wheel.arm(self, self._policy.send_gap_s)
            self.sink.upstream_stalled()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        if self.sink is not None:
            if self._sent_all and self._policy is not None and not self._tunnel:
                self._wheel.arm(self, self._policy.read_gap_s)
            else:
                self.deadline = NEVER
            self.sink.upstream_writable()

    def on_deadline(self) -> None:
        """Idle for too long, or silent for too long in an exchange."""
        if self.sink is None:
            self.close()
        else:
            self._fail(Reason.UPSTREAM_TIMEOUT, "the upstream was silent for too long")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        sink = self.sink
        if sink is None:
            self.close()  # bytes that nobody asked for: they must never become somebody's response
            return
        if self._tunnel:
            sink.tunnel_data(data)
            return
        self._received = True
        try:
            if self._decoder is None:
                self._on_head(sink, data)
            else:
                self._on_body(sink, self._decoder, data)
            if self.sink is sink and self._sent_all and self.deadline != NEVER and self._policy is not None:
                self._wheel.arm(self, self._policy.read_gap_s)  # the exchange goes on: the silence starts anew
        except MalformedResponse as error:
            self._fail(Reason.BAD_GATEWAY_RESPONSE, str(error))
        except LocalReply as reply:
            self._fail(reply.reason, reply.detail)

    def _on_head(self, sink: ResponseSink, data: bytes) -> None:
        while True:
            head = self._reader.feed(data)
            if head is None:
                return
            status = head.status
            data = self._reader.leftover
            self._reader.leftover = b""  # an idle connection must not hold the start of its last body
            fields = head.fields
            framing = head.framing
            if framing is None or self._method == "HEAD":
                framing = response_framing(self._method, status, fields, head.minor)
                if self._method != "HEAD":
                    head.framing = framing
            if status >= 200:
                endpoint = self.endpoint
                if self._sent_all:  # an answer before the end of the request does not tell how long the endpoint takes
                    now = time.monotonic()
                    endpoint.answered(now - self._sent_at, now, status)
                elif status >= SERVER_ERROR or endpoint.suspect:
                    endpoint.judge(status, time.monotonic())
                break
            if status == 101:
                if self.endpoint.suspect:
                    self.endpoint.judge(status, time.monotonic())
                self._switch(sink, head, data)
                return
            self._interim += 1
            if self._interim > self._limits.interim_responses:
                raise MalformedResponse("too many interim responses")
            sink.response_interim(head)
            if not data or self.sink is not sink:
                return
        self._reusable = not fields.close and (head.minor == 1 or fields.keep_alive)
        if framing.length == len(data):  # most responses are small and come at once
            self._finish()
            sink.response_started(head, framing.length, [data] if data else [], True)
            return
        decoder = body_decoder(framing, self._limits)
        if decoder is None:
            self._reusable = False  # there is data behind a response that has no body
            self._finish()
            sink.response_started(head, framing.length, [], True)
            return
        pieces = decoder.feed(data) if data else []
        if decoder.complete:
            self._end_body(decoder)
            sink.response_started(head, framing.length, pieces, True)
        else:
            self._decoder = decoder
            sink.response_started(head, framing.length, pieces, False)

    def _on_body(self, sink: ResponseSink, decoder: BodyDecoder, data: bytes) -> None:
        pieces = decoder.feed(data)
        if decoder.complete:
            self._end_body(decoder)
            sink.response_body(pieces, True)
        elif pieces:
            sink.response_body(pieces, False)

    def _end_body(self, decoder: BodyDecoder) -> None:
        if decoder.leftover:
            self._reusable = False
        self._decoder = None
        self._finish()

    def _switch(self, sink: ResponseSink, head: ResponseHead, data: bytes) -> None:
        if not self._upgrade or not head.fields.upgrades_to_websocket:
            raise MalformedResponse("101 that nobody asked for")
        self._tunnel = True
        self.deadline = NEVER
        sink.response_upgraded(head, data)

    def _finish(self) -> None:
        """The response is complete: keep the connection or close it, before the sink goes on."""
        self._detach()
        if self._reusable and self._sent_all:
            self.retire()
        else:
            self.deadline = NEVER
            if self.transport is not None:
                self.transport.abort()

    def retire(self) -> None:
        """Wait for the next exchange, if there is room for one more idle connection."""
        if self.transport is not None and self.endpoint.give_back(self):
            self._wheel.arm(self, self._limits.upstream_idle_s)
        else:
            self.close()

    def finish_tunnel(self) -> None:
        """Close after what was written into the tunnel."""
        if self.sink is not None:
            self._detach()
        if self.transport is not None:
            self.transport.close()

    def _fail(self, reason: Reason, detail: str) -> None:
        sink = self.sink
        if sink is None:
            return
        untouched = not self._received
        self._detach()
        if untouched and self.requests > 1 and reason is Reason.UPSTREAM_RESET:
            self.endpoint.failures += 1  # most likely it closed an idle connection: that does not make it slow
        else:
            self.endpoint.failed(time.monotonic(), unreachable=reason is Reason.UPSTREAM_RESET)
        if self.transport is not None:
            self.transport.abort()
        sink.upstream_failed(reason, detail, untouched=untouched)

    def _detach(self) -> None:
        self.sink = None
        self._decoder = None
        self.endpoint.active -= 1
