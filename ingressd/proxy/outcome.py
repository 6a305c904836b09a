"""Outcome: what is known about one request and its answer, and how they end, whatever ends them.

In: the parsed head. Out: a local reply where there is no other answer, one log entry, the counters. An Exchange is
one; what comes before the end stands in exchange.py, attempts.py and relay.py.
"""

from __future__ import annotations

import asyncio
import time

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Encoder, Services
from ingressd.filters.guard import USER
from ingressd.http import local_reply
from ingressd.http.client_certificate import ClientTls
from ingressd.http.codec import RequestHead
from ingressd.http.edited_lines import EditedLines
from ingressd.http.framing import NONE, BodyDecoder, BodyFraming
from ingressd.proxy.context import ProxyContext
from ingressd.proxy.downstream import Downstream
from ingressd.proxy.request_body import RequestBody
from ingressd.proxy.request_view import RequestView
from ingressd.proxy.tunnel import Tunnel
from ingressd.table.policy import DEFAULT_POLICY, RoutePolicy
from ingressd.table.route import Route
from ingressd.upstream.connection import UpstreamConnection
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.registry import PoolState

_CLIENT_CLOSED_REQUEST = 499  # nginx's code for the log; nobody receives it
_VERSION = ("HTTP/1.0", "HTTP/1.1")


class Outcome(RequestView):
    """The state of one request, and how it ends. It is also the Entry of the access log and the metrics."""

    __slots__ = (
        "_body",
        "_chunked_response",
        "_connection",
        "_context",
        "_downstream",
        "_encoder",
        "_framing",
        "_fresh_only",
        "_head",
        "_keep",
        "_pool",
        "_request_bytes",
        "_sent",
        "_tried",
        "_tunnel",
        "_upgrading",
        "_upstream_started",
        "_waiting",
        "attempts",
        "bytes_in",
        "bytes_out",
        "decoder",
        "duration_s",
        "ended",
        "policy",
        "reason",
        "responded",
        "started_at",
        "status",
        "upstream_address",
        "upstream_duration_s",
        "upstream_status",
    )

    def __init__(self, context: ProxyContext, downstream: Downstream, head: RequestHead | None) -> None:
        self._context = context
        self._downstream = downstream
        self._head = head
        self.began = time.monotonic()
        self.started_at = time.time()
        if head is not None:
            self.method = head.method
            self.target = head.target
            self.version = _VERSION[head.minor]
        else:
            self.method = self.target = self.version = ""
        self.scheme = downstream.scheme
        self.client_address = downstream.client_address
        self.client_port = downstream.client_port
        self.host = self.authority = self.path = self.request_id = ""
        self.fields = None
        self.route = None
        self.edits = None
        self.policy: RoutePolicy = DEFAULT_POLICY
        self.status = 0
        self.reason = ""
        self.attempts = 0
        self.bytes_in = self.bytes_out = 0
        self.duration_s = 0.0
        self.upstream_address = ""
        self.upstream_status = 0
        self.upstream_duration_s: float | None = None
        self.decoder: BodyDecoder | None = None
        """Frames the request body; the listener feeds it. None when there is no body."""
        self.responded = False
        """A final response has begun: what follows can only continue it or cut it."""
        self.ended = False
        self._body: RequestBody | None = None
        self._connection: UpstreamConnection | None = None
        self._pool: PoolState | None = None
        self._tried: tuple[EndpointState, ...] = ()
        self._fresh_only = False
        self._sent = False
        self._framing: BodyFraming = NONE
        """Of the request body, as the endpoint gets it."""
        self._request_bytes = b""
        self._waiting: asyncio.Task[None] | None = None
        """A filter that waits for somebody."""
        self._encoder: Encoder | None = None
        """Changes the response body."""
        self._chunked_response = False
        self._keep = False
        self._upgrading = False
        self._tunnel: Tunnel | None = None
        self._upstream_started = 0.0

    # What filters and the log ask.

    def upstream_fields(self) -> EditedLines:
        """See RequestView."""
        fields = self.fields
        assert fields is not None
        return self._downstream.forwarded.edited(fields, self.authority.encode("latin-1"), self.request_id)

    @property
    def client_tls(self) -> ClientTls | None:
        """See Request."""
        return self._downstream.client_tls

    @property
    def has_body(self) -> bool:
        """See Request."""
        return self.decoder is not None

    @property
    def server_port(self) -> int:
        """See Request."""
        return self._downstream.local_port

    @property
    def services(self) -> Services:
        """See Request."""
        return self._context.services

    @property
    def body_complete(self) -> bool:
        """Nothing of the request is still to come."""
        return self.decoder is None or self.decoder.complete

    @property
    def body_awaited(self) -> bool:
        """The client may not have begun to send the body: it waits for 100 (Continue)."""
        return self._body is not None and self._body.expects_continue

    @property
    def user(self) -> str:
        """See Entry."""
        edits = self.edits
        return "" if edits is None else edits.notes.get(USER, "")

    @property
    def user_agent(self) -> str:
        """The User-Agent field, or nothing."""
        fields = self.fields
        return "" if fields is None else fields.user_agent or ""

    @property
    def referer(self) -> str:
        """The Referer field, or nothing."""
        return "" if self.fields is None else self.fields.referer

    @property
    def _detoured(self) -> bool:
        return self.edits is not None and self.edits.detoured

    # The end: local replies, the log, the counters.

    def answer(self, reply: LocalReply) -> None:
        """Answer without the upstream."""
        self._drop_connection()
        if reply.close:
            self._keep = False
        route = self.route
        # Where the framing is in doubt there is nobody to wait for: only a body that is too large is well framed.
        if route is not None and route.response_filters and (not reply.close or reply.reason is Reason.BODY_TOO_LARGE):
            changed = self._filter_reply(route, reply)
            if changed is None:
                return
            reply = changed
        self.status = reply.status
        self.reason = reply.reason
        self.responded = True
        self._settle_keep()
        data, body_bytes = local_reply.render(
            reply,
            accept=None if self.fields is None else self.fields.accept,
            method=self.method,
            keep_alive=self._keep,
            version_10=self.version == "HTTP/1.0",
            request_id=self.request_id,
            now=self.started_at,
        )
        self.bytes_out += body_bytes
        self._downstream.write(data)
        self._end(keep=self._keep)

    def _filter_reply(self, route: Route, reply: LocalReply) -> LocalReply | None:
        """What the response filters of the route make of it; None when the client gets something else."""
        raise NotImplementedError

    def _settle_keep(self) -> None:
        """Whether the connection can carry another request, decided when the head is written."""
        if self._downstream.closing or (self._body is not None and self.body_awaited and not self.body_complete):
            self._keep = False

    def client_gone(self) -> None:
        """The client closed its connection: the endpoint's work is cancelled."""
        if self.ended:
            return
        self._drop_connection()
        if self._tunnel is None:
            if not self.responded:
                self.status = _CLIENT_CLOSED_REQUEST
            self.reason = Reason.CLIENT_ABORT
        self._record()

    def fail(self, reply: LocalReply) -> None:
        """The client broke its request off or took too long: answer if nothing was sent yet, cut otherwise."""
        if self.responded:
            self._drop_connection()
            self.reason = reply.reason
            self._end(keep=False, cut=True)
        else:
            self.answer(reply)

    def _drop_connection(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        connection = self._connection
        if connection is not None:
            self._connection = None
            if self._body is not None:
                self._body.detach()
            connection.abandon()

    def _end(self, *, keep: bool, cut: bool = False) -> None:
        self._record()
        if cut:
            self._downstream.abort()
        else:
            self._downstream.exchange_ended(self, keep=keep)

    def _record(self) -> None:
        """Count and log, once, whatever happened."""
        self.ended = True
        now = time.monotonic()
        self.duration_s = now - self.began
        if self.attempts:
            self.upstream_duration_s = now - self._upstream_started
        context = self._context
        if self._tunnel is not None:
            self.bytes_in, self.bytes_out = self._tunnel.bytes_up, self._tunnel.bytes_down
            context.stats.tunnels_open -= 1
        elif self._body is not None:
            self.bytes_in = self._body.received_bytes
        elif self.edits is not None:
            self.bytes_in = self.edits.body_bytes
        context.stats.finished(self)
        if self.edits is not None:
            for call in self.edits.ends:
                call()
        if context.access_log.on and self.policy.access_log:
            context.access_log.write(self)
