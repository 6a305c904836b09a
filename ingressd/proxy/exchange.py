"""Exchange: one request and its answer, from the parsed head to the access log. Read it top to bottom.

In: a RequestHead from the listener, events from an UpstreamConnection. Out: bytes to both, one log entry.
Everything runs in the callbacks of the two connections; only a dial is a task. It never sees a manifest.

Longer than other modules on purpose: its events may come in any order, and what each of them means in each state
stands in one place (docs/decisions/0001).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Detour, Encoder, Services, Verdict
from ingressd.http import local_reply
from ingressd.http.authority import canonical_host
from ingressd.http.client_certificate import ClientTls
from ingressd.http.codec import RequestHead, ResponseHead
from ingressd.http.edited_lines import EditedLines
from ingressd.http.fields import line_value
from ingressd.http.forwarded import new_request_id
from ingressd.http.framing import (
    LAST_CHUNK,
    NONE,
    BodyDecoder,
    BodyFraming,
    body_decoder,
    encode_chunk,
    request_framing,
)
from ingressd.http.target import canonicalise, split_absolute
from ingressd.proxy.context import ProxyContext
from ingressd.proxy.downstream import Downstream
from ingressd.proxy.expiry import Expiry
from ingressd.proxy.request_body import RequestBody
from ingressd.proxy.request_view import RequestView
from ingressd.proxy.response import OutgoingResponse
from ingressd.proxy.retry import may_retry, may_retry_status
from ingressd.proxy.tunnel import Tunnel
from ingressd.table.policy import DEFAULT_POLICY, RoutePolicy
from ingressd.table.route import Route
from ingressd.upstream.breaker import Overflow
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
_CLIENT_CLOSED_REQUEST = 499  # nginx's code for the log; nobody receives it
_BODILESS = frozenset({204, 304})
_VERSION = ("HTTP/1.0", "HTTP/1.1")

_log = logging.getLogger("ingressd.proxy")


class Exchange(RequestView):
    """The state of one request. It is also the Entry of the access log and the metrics."""

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

    # 1. The head: fields, framing, canonical host and path.

    def begin(self) -> None:
        """Take the request from its head to the first attempt, or to a local reply."""
        try:
            self._read_head()
            route = self._choose_route()
            if route.filters and not self._pass_filters(route, 0):
                return
            self._compose()
        except LocalReply as reply:
            self.answer(reply)
            return
        self._start()

    def refuse(self, reply: LocalReply) -> None:
        """Answer a request whose head could not be read."""
        self.request_id = new_request_id()
        self.answer(reply)

    def _read_head(self) -> None:
        head = self._head
        assert head is not None
        fields = head.block.fields
        self._framing = framing = request_framing(head.minor, fields)
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
            self._body = RequestBody(
                downstream,
                chunked=framing.length is None,
                expects_continue=expects_continue,
                high_bytes=limits.buffer_high_bytes,
            )
        # A request that has a body is no upgrade: the two ends of the tunnel would not agree where it begins.
        self._upgrading = fields.upgrades_to_websocket and self.decoder is None

    # 2. The route and its filters.

    def _choose_route(self) -> Route:
        table = self._context.table
        route = table.match(self.host, self.path)
        if route is not None and route.alternatives:
            route = table.decide(route, self.host, self.path, self)
        self.route = route
        if route is None:
            raise LocalReply(404, Reason.NO_ROUTE, "no rule takes this host and path")
        if route.denied:
            raise LocalReply(503, Reason.POLICY_INVALID, "the policy of this route is invalid")
        self.policy = policy = route.policy
        body = self._body
        if body is not None and policy.request_body_bytes:
            body.limit_bytes = policy.request_body_bytes
            length = self._framing.length
            if length is not None and length > policy.request_body_bytes:
                raise _body_too_large(policy.request_body_bytes)
        return route

    def _pass_filters(self, route: Route, start: int) -> bool:
        """Run the filters from number `start` on; False when one of them waits. Raises LocalReply."""
        for number in range(start, len(route.filters)):
            try:
                verdict: Verdict | Awaitable[Verdict] = route.filters[number].on_request(self)
            except LocalReply:
                raise
            except Exception as problem:
                raise _broken(route.filters[number]) from problem
            if verdict is None:
                continue
            if isinstance(verdict, LocalReply):
                raise verdict
            self._waiting = self._context.services.spawn(self._wait(route, number, verdict))
            return False
        return True

    async def _wait(self, route: Route, number: int, verdict: Awaitable[Verdict]) -> None:
        try:
            reply = await verdict
        except LocalReply as refusal:
            reply = refusal
        except Exception:
            reply = _broken(route.filters[number])
        self._waiting = None
        if self.ended:
            return
        try:
            if reply is not None:
                raise reply
            if not self._pass_filters(route, number + 1):
                return
            self._compose()
        except LocalReply as answer:
            self.answer(answer)
            return
        self._start()

    def _compose(self) -> None:
        """What the endpoint is sent before the body. Raises LocalReply."""
        fields, route, edits = self.fields, self.route, self.edits
        assert fields is not None
        assert route is not None
        method, target, authority, pool = self.method, self.target, self.authority, route.pool
        if target[0] != "/":
            target = split_absolute(target)[2]
        lines: tuple[bytes, ...] | list[bytes]
        if edits is None or edits.fields is None:
            rendered = self._downstream.forwarded.render(fields, authority.encode("latin-1"), self.request_id)
            lines = (fields.kept_bytes, rendered)
        else:
            lines = edits.fields.lines
        if edits is not None:
            method = edits.method or method
            target = edits.target or target
            authority = edits.authority or authority
            pool = edits.pool or pool
        self._pool = self._context.registry.pools.get(pool)
        self._request_bytes = b"".join(
            (
                f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\n".encode("latin-1"),
                *lines,
                _UPGRADE if self._upgrading else self._framing.field,
                b"\r\n",
            )
        )

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

    # 3. Attempts: pick an endpoint, take a connection or dial one, send.

    def _start(self) -> None:
        body, policy = self._body, self.policy
        if policy.request_s:
            self.at_end(Expiry(self._context.wheel, policy.request_s, self._expired).cancel)
        if body is not None and policy.buffers_request and not body.complete:
            body.gather()
        else:
            self._enter()

    def _enter(self) -> None:
        """Find room in the pool."""
        pool = self._pool
        if pool is None or pool.breaker is None:
            self._attempt()
            return
        try:
            ticket = pool.breaker.enter(self._in_turn, self._overflow)
        except Overflow:
            self._overflow()
            return
        self.at_end(ticket.leave)
        if ticket.inside:
            self._attempt()

    def _in_turn(self) -> None:
        """There is room now. Whoever got another answer meanwhile needs none."""
        if not self._detoured:
            self._attempt()

    def _overflow(self) -> None:
        self._give_up(LocalReply(503, Reason.OVERFLOW, "the endpoints have as many requests as they may have"))

    def _expired(self) -> None:
        if not self.ended:
            self.fail(LocalReply(504, Reason.UPSTREAM_TIMEOUT, "the request took too long altogether"))

    def _attempt(self) -> None:
        pool = self._pool
        edits = self.edits
        if pool is None:
            endpoint = None
        elif edits is None or edits.affinity is None:
            endpoint = pool.pick(self._tried, self)
        else:
            endpoint = pool.prefer(edits.affinity, self._tried, self)
        if endpoint is None or pool is None:
            self._give_up(LocalReply(503, Reason.NO_ENDPOINTS, "no endpoint is ready"))
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
        if pool.crowded:
            self._overflow()
            return
        context = self._context
        task = context.loop.create_task(self._dial(endpoint, pool, detoured=self._detoured))
        context.tasks.add(task)
        task.add_done_callback(context.tasks.discard)

    async def _dial(self, endpoint: EndpointState, pool: PoolState, *, detoured: bool) -> None:
        context = self._context
        context.stats.upstream_connects_total += 1
        pool.dialing += 1
        try:
            connection = await dial(endpoint, self.policy.connect_s, context.limits, context.wheel)
        except DialFailed as failure:
            if not self.ended and detoured is self._detoured:
                self._tried += (endpoint,)
                self._failed(failure.reason, failure.detail, untouched=True)
            return
        finally:
            pool.dialing -= 1
        if self.ended or detoured is not self._detoured:
            connection.retire()
        elif not connection.quiet():  # it was closed as soon as it was accepted
            connection.close()
            endpoint.failed(time.monotonic())
            self._tried += (endpoint,)
            self._failed(Reason.UPSTREAM_RESET, "the upstream closed a new connection", untouched=True)
        else:
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._sent = True
        edits = self.edits
        method = self.method if edits is None else edits.method or self.method
        connection.begin(self, self.policy, method, upgrade=self._upgrading)
        body = self._body
        if body is None:
            connection.send(self._request_bytes, last=True)
        else:
            body.attach(connection, self._request_bytes)

    @property
    def _upstream_method(self) -> str:
        edits = self.edits
        return self.method if edits is None else edits.method or self.method

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
        self._failed(reason, detail, untouched=untouched, stale=stale)

    def _failed(self, reason: Reason, detail: str, *, untouched: bool, stale: bool = False) -> None:
        body, pool = self._body, self._pool
        if may_retry(
            self.policy,
            reason,
            method=self._upstream_method,
            attempts=self.attempts,
            elapsed_s=time.monotonic() - self.began,
            sent=self._sent,
            untouched=untouched,
            replayable=body is None or body.replayable,
            stale=stale,
        ) and self._may_repeat(pool, costly=self._sent and not stale):
            self._attempt()
        else:
            self._give_up(LocalReply(_STATUS_OF[reason], reason, detail))

    def _give_up(self, reply: LocalReply) -> None:
        """No attempt is left: answer. Where a Detour has failed, the client gets what there was before it."""
        edits = self.edits
        if edits is not None and edits.instead is not None:
            reply, edits.instead = edits.instead, None
        self.answer(reply)

    def _may_repeat(self, pool: PoolState | None, *, costly: bool) -> bool:
        """Whether there is another endpoint; and room in the budget, if an endpoint had work with this attempt."""
        if pool is None or not (pool.may_retry(self._tried) if costly else pool.may_try(self._tried)):
            return False
        self._context.stats.retries_total += 1
        if costly:
            pool.retrying += 1
            self.at_end(pool.retried)
        return True

    def _repeats(self, status: int) -> bool:
        """The second of the two retry decisions: this status asks for another endpoint, and there is one."""
        connection, body = self._connection, self._body
        if connection is None or not may_retry_status(
            self.policy,
            status,
            method=self._upstream_method,
            attempts=self.attempts,
            elapsed_s=time.monotonic() - self.began,
            replayable=body is None or body.replayable,
        ):
            return False
        tried = self._tried
        self._tried = (*tried, connection.endpoint)
        if not self._may_repeat(self._pool, costly=True):
            self._tried = tried
            return False
        if connection.sink is self:
            self._drop_connection()
        elif body is not None:
            body.detach()
        self._connection = None
        self._attempt()
        return True

    # 4. The request body, as the listener decodes it.

    def request_body(self, pieces: list[bytes], complete: bool) -> None:
        """More of the request body, or its end."""
        body = self._body
        if body is None or self.ended:
            return
        if self.edits is not None:
            for tap in self.edits.taps:
                tap(b"".join(pieces), complete)
        if not body.receive(pieces, complete):
            self.fail(_body_too_large(body.limit_bytes))
        elif body.gathering and (complete or body.full):
            body.gathering = False
            self._enter()

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
        if self._body is not None:
            return self._body.received_bytes
        return 0 if self.edits is None else self.edits.body_bytes

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
            self._end(keep=self._keep)
        elif self._downstream.stalled and self._connection is not None:
            self._connection.hold()

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
                outcome = _broken(response_filter)
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

    @property
    def _detoured(self) -> bool:
        return self.edits is not None and self.edits.detoured

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
        self._downstream.write(b"".join((start, *lines, _UPGRADE, b"\r\n", data)))
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
        """The answer with what response filters make of it; None when the client gets something else."""
        response = OutgoingResponse(
            reply.status, (b"%b: %b\r\n" % pair for pair in reply.headers), reply.reason, self.upstream_address
        )
        if not self._filter_response(route, response, reply):
            return None
        headers = tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in response.fields.pairs())
        return LocalReply(response.status, reply.reason, reply.detail, headers=headers, close=reply.close)

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
            self.bytes_out = self._tunnel.bytes_down
            context.stats.tunnels_open -= 1
        context.stats.finished(self)
        if self.edits is not None:
            for call in self.edits.ends:
                call()
        if self.policy.access_log:
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
_UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def _method_not_allowed() -> LocalReply:
    return LocalReply(405, Reason.METHOD_NOT_ALLOWED, headers=((b"Allow", _ALLOW),), close=True)


def _broken(broken: object) -> LocalReply:
    """The answer when a filter raised something; call it where that is handled."""
    _log.exception("the filter %s failed", broken)
    return LocalReply(500, Reason.INTERNAL, "a filter of this route failed")


def _body_too_large(limit: int) -> LocalReply:
    return LocalReply(413, Reason.BODY_TOO_LARGE, f"the request body is above {limit} bytes", close=True)
