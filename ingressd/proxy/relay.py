"""Relay: a response on its way to the client, changed by the filters of its route; or both sides of a byte tunnel.

In: the response as an UpstreamConnection decodes it. Out: bytes to the client.
"""

from __future__ import annotations

import logging

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Detour
from ingressd.http.codec import ResponseHead
from ingressd.http.framing import LAST_CHUNK, NONE, encode_chunk
from ingressd.proxy.outcome import Outcome
from ingressd.proxy.response import OutgoingResponse
from ingressd.proxy.tunnel import Tunnel
from ingressd.table.route import Route

_BODILESS = frozenset({204, 304})
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
_OF_A_BODY_OR_A_COPY = (
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
)
"""Fields of a request that say nothing about a Detour: its body is left out, and no copy is of its response."""

_log = logging.getLogger("ingressd.proxy")


class Relay(Outcome):
    """Fourth stage: the response."""

    __slots__ = ()

    def response_interim(self, head: ResponseHead) -> None:
        """See ResponseSink. 100 is ours to send; the others pass (RFC 9110 section 15.2)."""
        if head.status != 100 and self.version == "HTTP/1.1":
            self._downstream.write(b"%b%b\r\n" % (head.start, head.fields.kept_bytes))

    def response_started(self, head: ResponseHead, length: int | None, pieces: list[bytes], ended: bool) -> None:
        """See ResponseSink."""
        self.upstream_status = head.status
        if head.status in self.policy.retry_statuses and self._repeats(head.status):
            return
        lines = [head.start, head.fields.kept_bytes]
        route = self.route
        if route is not None and route.response_filters:
            known = head.fields.filtered
            if known is not None and known[0] is route.response_filters and known[1]:
                lines[1] = known[1]
                self.status = head.status
            else:
                response = self._filtered(route, head, ended)
                if response is None:
                    return
                lines = [head.start if response.status == head.status else response.start, *response.fields.lines]
                if response.encoder is not None and self.method != "HEAD" and head.status not in _BODILESS:
                    self._encoder = response.encoder
                    length = None
                self.status = response.status
        else:
            self.status = head.status
        self.responded = True
        if self.version == "HTTP/1.1":
            if length is None and self.method != "HEAD" and head.status not in _BODILESS:
                self._chunked_response = True
                lines.append(b"Transfer-Encoding: chunked\r\n")
        elif length is None and self.method != "HEAD" and head.status not in _BODILESS:
            self._keep = False
        if self._keep and (self._body is not None or self._downstream.closing):
            self._settle_keep()
        if not self._keep:
            lines.append(b"Connection: close\r\n")
        elif self.version == "HTTP/1.0":
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._relay(lines, pieces, ended)

    def response_body(self, pieces: list[bytes], ended: bool) -> None:
        """See ResponseSink."""
        self._relay([], pieces, ended)

    def _relay(self, lines: list[bytes], pieces: list[bytes], ended: bool) -> None:
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._encoder is not None:
                data = self._encoder.feed(data)
            if data:
                self.bytes_out += len(data)
                lines.append(encode_chunk(data) if self._chunked_response else data)
        if ended:
            self._connection = None
            if self._encoder is not None and (rest := self._encoder.finish()):
                self.bytes_out += len(rest)
                lines.append(encode_chunk(rest) if self._chunked_response else rest)
            if self._chunked_response:
                lines.append(LAST_CHUNK)
        if lines:
            self._downstream.write(lines[0] if len(lines) == 1 else b"".join(lines))
        if ended:
            self._record()
            self._downstream.exchange_ended(self, keep=self._keep)
        elif self._downstream.stalled and self._connection is not None:
            self._connection.hold()

    def client_stalled(self) -> None:
        """The client reads too slowly."""
        if self._connection is not None:
            self._connection.hold()

    def client_writable(self) -> None:
        """The client reads again."""
        if self._connection is not None:
            self._connection.resume()

    # Where the stages before it go on: see there.

    def _repeats(self, status: int) -> bool:
        raise NotImplementedError

    def _compose(self) -> None:
        raise NotImplementedError

    def _attempt(self) -> None:
        raise NotImplementedError

    # What the filters of the route make of it.

    def _filtered(self, route: Route, head: ResponseHead, ended: bool) -> OutgoingResponse | None:
        """What the response filters make of a response; None when the client gets something else."""
        fields, filters = head.fields, route.response_filters
        response = OutgoingResponse(head.status, fields.kept, "", self.upstream_address, fields.names)
        if ended:
            self._connection = None
        if not self._filter_response(route, response):
            return None
        if fields.filtered is None or fields.filtered[0] is not filters:
            constant = all(getattr(each, "constant", False) for each in filters)
            fields.filtered = (filters, b"".join(response.fields.lines) if constant else b"")
        return response

    def _filter_response(self, route: Route, response: OutgoingResponse, reply: LocalReply | None = None) -> bool:
        """Run the response filters; False when the client gets something else. `reply`: what was made here."""
        for response_filter in route.response_filters:
            try:
                outcome: LocalReply | Detour | None = response_filter.on_response(self, response)
            except Exception:
                outcome = broken(response_filter)
            if outcome is None:
                continue
            if isinstance(outcome, Detour):
                if self._detoured:
                    continue
                if reply is None:
                    reply = LocalReply(response.status, Reason.CUSTOM_ERROR, "the error backend did not answer")
                try:
                    self._detour(outcome, reply)
                except LocalReply as refusal:
                    self.answer(refusal)
            elif response.reason:
                continue  # it is an answer of the proxy's already
            else:
                self.answer(outcome)
            return False
        return True

    def _filter_reply(self, route: Route, reply: LocalReply) -> LocalReply | None:
        """The answer with what response filters make of it; None when the client gets something else."""
        response = OutgoingResponse(
            reply.status, (b"%b: %b\r\n" % pair for pair in reply.headers), reply.reason, self.upstream_address
        )
        if not self._filter_response(route, response, reply):
            return None
        headers = tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in response.fields.pairs())
        return LocalReply(response.status, reply.reason, reply.detail, headers=headers, close=reply.close)

    def _detour(self, detour: Detour, instead: LocalReply) -> None:
        """Get another response for the client. What it sends of its request body goes nowhere."""
        edits = self._edited()
        edits.detoured = True
        edits.instead = instead
        self._drop_connection()
        body = self._body
        if body is not None:
            self._body = None
            edits.body_bytes = body.received_bytes
            if not self.body_complete:
                if body.expects_continue:
                    self._keep = False
                self._downstream.resume_body()
        self._upgrading = False
        self._framing = NONE
        self._tried = ()
        self._fresh_only = False
        self.attempts = 0
        edits.pool = detour.pool
        edits.method = "HEAD" if self.method == "HEAD" else "GET"
        edits.authority = edits.affinity = None
        self.rewrite(detour.target)
        for name in _OF_A_BODY_OR_A_COPY:
            self.remove_header(name)
        for name, value in detour.headers:
            self.set_header(name, value)
        self._compose()
        self._attempt()

    # Upgrade: both sides become a byte tunnel.

    def response_upgraded(self, head: ResponseHead, data: bytes) -> None:
        """See ResponseSink."""
        connection = self._connection
        assert connection is not None
        start, lines = head.start, head.fields.kept
        route = self.route
        if route is not None and route.response_filters:
            response = OutgoingResponse(head.status, lines, "", self.upstream_address)
            if not self._filter_response(route, response):
                return
            lines = response.fields.lines
        self.responded = True
        self.status = self.upstream_status = head.status
        self._keep = False
        self._tunnel = tunnel = Tunnel(self._downstream, connection)
        self._context.stats.tunnels_open += 1
        early = self._downstream.become_tunnel()
        self._downstream.write(b"".join((start, *lines, UPGRADE, b"\r\n", data)))
        tunnel.bytes_down = len(data)
        if early:
            tunnel.from_client(early)

    def tunnel_client_data(self, data: bytes) -> None:
        """Bytes from the client after the upgrade."""
        assert self._tunnel is not None
        self._tunnel.from_client(data)

    def tunnel_client_eof(self) -> None:
        """The client has finished sending into the tunnel."""
        if self._tunnel is not None:
            self._tunnel.client_eof()

    def tunnel_data(self, data: bytes) -> None:
        """See ResponseSink."""
        if self._tunnel is not None:
            self._tunnel.from_upstream(data)
            if self._downstream.stalled and self._connection is not None:
                self._connection.hold()

    def tunnel_eof(self) -> None:
        """See ResponseSink."""
        if self._tunnel is not None:
            self._tunnel.upstream_eof()

    def tunnel_closed(self) -> None:
        """See ResponseSink."""
        self._connection = None
        self._downstream.close()


def broken(what: object) -> LocalReply:
    """The answer when a filter raised something; call it where that is handled."""
    _log.exception("the filter %s failed", what)
    return LocalReply(500, Reason.INTERNAL, "a filter of this route failed")
