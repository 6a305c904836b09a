"""Exchange: one request and its answer, from the parsed head to the access log. Read it top to bottom.

In: a RequestHead from the listener, events from an UpstreamConnection. Out: bytes to both, one log entry.
Everything runs in the callbacks of the two connections; only a dial is a task. It never sees a manifest.

Longer than other modules on purpose: its events may come in any order, and what each of them means in each state
stands in one place (docs/decisions/0001).
"""

from __future__ import annotations

import time

from ingressd.errors import LocalReply, Reason
from ingressd.http import local_reply
from ingressd.http.authority import canonical_host
from ingressd.http.codec import RequestHead, ResponseHead
from ingressd.http.fields import RequestFields, line_value
from ingressd.http.forwarded import new_request_id
from ingressd.http.framing import LAST_CHUNK, BodyDecoder, body_decoder, encode_chunk, request_framing
from ingressd.http.target import canonicalise, split_absolute
from ingressd.proxy.context import ProxyContext
from ingressd.proxy.downstream import Downstream
from ingressd.proxy.request_body import RequestBody
from ingressd.proxy.retry import may_retry
from ingressd.proxy.tunnel import Tunnel
from ingressd.table.route import Route
from ingressd.upstream.connection import UpstreamConnection
from ingressd.upstream.dial import DialFailed, dial
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.registry import PoolState

_STATUS_OF = {
    Reason.CONNECT_REFUSED: 502,
    Reason.CONNECT_FAILED: 502,
    Reason.UPSTREAM_RESET: 502,
    Reason.BAD_GATEWAY_RESPONSE: 502,
    Reason.CONNECT_TIMEOUT: 504,
    Reason.UPSTREAM_TIMEOUT: 504,
    Reason.OVERLOAD: 503,
}
_NEVER_RETRIED = frozenset({Reason.UPSTREAM_TIMEOUT, Reason.OVERLOAD})
_CLIENT_CLOSED_REQUEST = 499  # nginx's code for the log; nobody receives it
_BODILESS = frozenset({204, 304})
_VERSION = ("HTTP/1.0", "HTTP/1.1")


class Exchange:
    """The state of one request. It is also the Entry of the access log and the metrics."""

    __slots__ = (
        "_body",
        "_chunked_response",
        "_connection",
        "_context",
        "_downstream",
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
        "attempts",
        "authority",
        "began",
        "bytes_out",
        "client_address",
        "client_port",
        "decoder",
        "duration_s",
        "ended",
        "fields",
        "host",
        "method",
        "path",
        "reason",
        "request_id",
        "responded",
        "route",
        "scheme",
        "started_at",
        "status",
        "target",
        "upstream_address",
        "upstream_duration_s",
        "upstream_status",
        "version",
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
        self.host = ""
        """Lower case, without port: what routes are matched by."""
        self.authority = ""
        """The Host field as sent."""
        self.path = ""
        """Canonical: what routes are matched by."""
        self.request_id = ""
        self.fields: RequestFields | None = None
        """None when the head is not understood: then what follows it has no meaning."""
        self.route: Route | None = None
        self.status = 0
        self.reason = ""
        self.attempts = 0
        self.bytes_out = 0
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
        self._request_bytes = b""
        self._chunked_response = False
        self._keep = False
        self._upgrading = False
        self._tunnel: Tunnel | None = None
        self._upstream_started = 0.0

    # 1. The head: fields, framing, canonical host and path.

    def begin(self) -> None:
        """Take the request from its head to the first attempt, or to a local reply."""
        try:
            self._read_head()
            self._choose_route()
        except LocalReply as reply:
            self.answer(reply)
            return
        self._attempt()

    def refuse(self, reply: LocalReply) -> None:
        """Answer a request whose head could not be read."""
        self.request_id = new_request_id()
        self.answer(reply)

    def _read_head(self) -> None:
        head = self._head
        assert head is not None
        fields = head.block.fields
        framing = request_framing(head.minor, fields)
        self.fields = fields
        limits = self._context.limits
        self.decoder = body_decoder(framing, limits, request=True)
        self._keep = not fields.close and (head.minor == 1 or fields.keep_alive)
        downstream = self._downstream
        forwarded = downstream.forwarded
        self.request_id = forwarded.request_id(fields)
        if forwarded.trusted:
            self.client_address, self.scheme = forwarded.origin(fields)
        target = head.target
        host = fields.host
        # RFC 9112 section 3.2: also a Host that is about to be replaced has to be there, and to be one.
        if host:
            self.host = canonical_host(host)
        elif head.minor == 1:
            raise LocalReply(400, Reason.BAD_REQUEST, "no Host field" if host is None else "empty Host", close=True)
        else:
            host = b""
        if target[0] != "/":
            if head.method == "CONNECT":
                raise _method_not_allowed()
            if target == "*":
                self.authority = host.decode("latin-1")
                if head.method != "OPTIONS":
                    raise LocalReply(400, Reason.BAD_REQUEST, "`*` is a target for OPTIONS only", close=True)
                raise LocalReply(200, Reason.OPTIONS, headers=((b"Allow", _ALLOW),))
            _, authority, target = split_absolute(target)
            host = authority.encode("ascii")  # RFC 9112 section 3.2.2: Host is ignored and replaced
            self.host = canonical_host(host)
        self.authority = host.decode("latin-1")
        if head.method in _REFUSED_METHODS:
            raise _method_not_allowed()
        expects_continue = False
        if fields.expect is not None:
            if fields.expect.lower() != b"100-continue":
                raise LocalReply(417, Reason.EXPECTATION_FAILED, "only 100-continue is understood")
            expects_continue = head.minor == 1
        self.path, _ = canonicalise(target)
        if self.decoder is not None:
            limit = limits.request_body_bytes
            if limit and framing.length is not None and framing.length > limit:
                raise _body_too_large(limit)
            self._body = RequestBody(
                downstream,
                chunked=framing.length is None,
                expects_continue=expects_continue,
                high_bytes=limits.buffer_high_bytes,
                limit_bytes=limit,
            )
        # A request that has a body is no upgrade: the two ends of the tunnel would not agree where it begins.
        self._upgrading = fields.upgrades_to_websocket and self.decoder is None
        self._request_bytes = b"".join(
            (
                f"{head.method} {target} HTTP/1.1\r\nHost: {self.authority}\r\n".encode("ascii"),
                fields.kept_bytes,
                forwarded.render(fields, host, self.request_id),
                _UPGRADE if self._upgrading else framing.field,
                b"\r\n",
            )
        )

    # 2. The route and its filters.

    def _choose_route(self) -> None:
        context = self._context
        self.route = route = context.table.match(self.host, self.path)
        if route is None:
            raise LocalReply(404, Reason.NO_ROUTE, "no rule takes this host and path")
        if route.denied:
            raise LocalReply(503, Reason.POLICY_INVALID, "the policy of this route is invalid")
        for request_filter in route.filters:
            reply = request_filter.on_request(self)
            if reply is not None:
                raise reply
        self._pool = context.registry.pools.get(route.pool)

    # 3. Attempts: pick an endpoint, take a connection or dial one, send.

    def _attempt(self) -> None:
        pool = self._pool
        endpoint = None if pool is None else pool.pick(self._tried, self)
        if endpoint is None or pool is None:
            self.answer(LocalReply(503, Reason.NO_ENDPOINTS, "no endpoint is ready"))
            return
        self.attempts += 1
        self._sent = False
        self.upstream_address = endpoint.key
        self._upstream_started = self.began if self.attempts == 1 else time.monotonic()
        if not self._fresh_only:
            connection = endpoint.take_idle()
            if connection is not None:
                self._send(connection)
                return
        context = self._context
        task = context.loop.create_task(self._dial(endpoint, pool))
        context.tasks.add(task)
        task.add_done_callback(context.tasks.discard)

    async def _dial(self, endpoint: EndpointState, pool: PoolState) -> None:
        context = self._context
        context.stats.upstream_connects_total += 1
        try:
            connection = await dial(endpoint, pool.pool.connect_s, context.limits, context.wheel)
        except DialFailed as failure:
            self._tried += (endpoint,)
            if not self.ended:
                self._failed(failure.reason, failure.detail, untouched=True)
            return
        if self.ended:
            connection.retire()
        elif not connection.quiet():  # it was closed as soon as it was accepted
            connection.close()
            self._tried += (endpoint,)
            self._failed(Reason.UPSTREAM_RESET, "the upstream closed a new connection", untouched=True)
        else:
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        pool = self._pool
        assert pool is not None
        self._connection = connection
        self._sent = True
        connection.begin(self, pool.pool, self.method, upgrade=self._upgrading)
        body = self._body
        if body is None:
            connection.send(self._request_bytes, last=True)
        else:
            body.attach(connection, self._request_bytes)

    def upstream_failed(self, reason: Reason, detail: str, *, untouched: bool) -> None:
        """The attempt ended without a whole response. This is the first of the two retry decisions."""
        connection = self._connection
        self._connection = None
        if self._body is not None:
            self._body.detach()
        if self.responded:
            self.reason = reason
            self._end(keep=False, cut=True)
            return
        stale = connection is not None and connection.requests > 1 and reason is Reason.UPSTREAM_RESET
        if stale:
            self._fresh_only = True  # the same endpoint may answer on a new connection
        elif connection is not None:
            self._tried += (connection.endpoint,)
        self._failed(reason, detail, untouched=untouched)

    def _failed(self, reason: Reason, detail: str, *, untouched: bool) -> None:
        pool = self._pool
        body = self._body
        if (
            pool is not None
            and reason not in _NEVER_RETRIED
            and may_retry(
                method=self.method,
                attempts=self.attempts,
                tries=pool.pool.tries,
                sent=self._sent,
                untouched=untouched,
                replayable=body is None or body.replayable,
            )
            and any(endpoint not in self._tried for endpoint in pool.endpoints)
        ):
            self._context.stats.retries_total += 1
            self._attempt()
            return
        self.answer(LocalReply(_STATUS_OF[reason], reason, detail))

    # 4. The request body, as the listener decodes it.

    def request_body(self, pieces: list[bytes], complete: bool) -> None:
        """More of the request body, or its end."""
        body = self._body
        if body is None or self.ended:
            return
        if not body.receive(pieces, complete):
            self.fail(_body_too_large(self._context.limits.request_body_bytes))

    @property
    def body_complete(self) -> bool:
        """Nothing of the request is still to come."""
        return self.decoder is None or self.decoder.complete

    @property
    def body_awaited(self) -> bool:
        """The client may not have begun to send the body: it waits for 100 (Continue)."""
        return self._body is not None and self._body.expects_continue

    @property
    def bytes_in(self) -> int:
        """Bytes of the request body."""
        if self._tunnel is not None:
            return self._tunnel.bytes_up
        return 0 if self._body is None else self._body.received_bytes

    def upstream_stalled(self) -> None:
        """See ResponseSink."""
        if self._tunnel is not None:
            self._downstream.hold_body()
        elif self._body is not None:
            self._body.stall()

    def upstream_writable(self) -> None:
        """See ResponseSink."""
        if self._tunnel is not None:
            self._downstream.resume_body()
        elif self._body is not None:
            self._body.flow()

    # 5. The response, as the upstream connection decodes it.

    def response_interim(self, head: ResponseHead) -> None:
        """See ResponseSink. 100 is ours to send; the others pass (RFC 9110 section 15.2)."""
        if head.status != 100 and self.version == "HTTP/1.1":
            self._downstream.write(b"%b%b\r\n" % (head.start, head.fields.kept_bytes))

    def response_started(self, head: ResponseHead, length: int | None, pieces: list[bytes], ended: bool) -> None:
        """See ResponseSink."""
        self.responded = True
        self.status = self.upstream_status = head.status
        lines = [head.start, head.fields.kept_bytes]
        if self.version == "HTTP/1.1":
            if length is None and self.method != "HEAD" and head.status not in _BODILESS:
                self._chunked_response = True
                lines.append(b"Transfer-Encoding: chunked\r\n")
        elif length is None and self.method != "HEAD" and head.status not in _BODILESS:
            self._keep = False
        if self._keep:
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
            self.bytes_out += len(data)
            lines.append(encode_chunk(data) if self._chunked_response else data)
        if ended:
            self._connection = None
            if self._chunked_response:
                lines.append(LAST_CHUNK)
        if lines:
            self._downstream.write(lines[0] if len(lines) == 1 else b"".join(lines))
        if ended:
            self._end(keep=self._keep)
        elif self._downstream.stalled and self._connection is not None:
            self._connection.hold()

    def _settle_keep(self) -> None:
        """Whether the connection can carry another request, decided when the head is written."""
        if self._downstream.closing or (self._body is not None and self.body_awaited and not self.body_complete):
            self._keep = False

    def client_stalled(self) -> None:
        """The client reads too slowly."""
        if self._connection is not None:
            self._connection.hold()

    def client_writable(self) -> None:
        """The client reads again."""
        if self._connection is not None:
            self._connection.resume()

    # 6. Upgrade: both sides become a byte tunnel.

    def response_upgraded(self, head: ResponseHead, data: bytes) -> None:
        """See ResponseSink."""
        connection = self._connection
        assert connection is not None
        self.responded = True
        self.status = self.upstream_status = head.status
        self._keep = False
        self._tunnel = tunnel = Tunnel(self._downstream, connection)
        self._context.stats.tunnels_open += 1
        early = self._downstream.become_tunnel()
        self._downstream.write(b"".join((head.start, head.fields.kept_bytes, _UPGRADE, b"\r\n", data)))
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

    # 7. The end: local replies, the log, the counters.

    def answer(self, reply: LocalReply) -> None:
        """Answer without the upstream."""
        self._drop_connection()
        self.status = reply.status
        self.reason = reply.reason
        self.responded = True
        if reply.close:
            self._keep = False
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
            self.bytes_out = self._tunnel.bytes_down
            context.stats.tunnels_open -= 1
        context.stats.finished(self)
        context.access_log.write(self)

    @property
    def user_agent(self) -> str:
        """The User-Agent field, or nothing."""
        line = None if self.fields is None else self.fields.user_agent
        return "" if line is None else line_value(line).decode("latin-1")

    @property
    def referer(self) -> str:
        """The Referer field, or nothing."""
        line = None if self.fields is None else self.fields.referer
        return "" if line is None else line_value(line).decode("latin-1")


_ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
_UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def _method_not_allowed() -> LocalReply:
    return LocalReply(405, Reason.METHOD_NOT_ALLOWED, headers=((b"Allow", _ALLOW),), close=True)


def _body_too_large(limit: int) -> LocalReply:
    return LocalReply(413, Reason.BODY_TOO_LARGE, f"the request body is above {limit} bytes", close=True)
