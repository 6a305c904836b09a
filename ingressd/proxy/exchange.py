"""Exchange: one request and its answer, from the parsed head to the access log. Read it first, and then its stages.

In: a RequestHead from the listener, events from an UpstreamConnection. Out: bytes to both, one log entry.
Everything runs in the callbacks of the two connections; only a dial is a task. It never sees a manifest.

The stages of a request stand one below the other, each in a file of its own: the head, the route and its filters
here, then attempts.py, relay.py and outcome.py. They are one object, because their events may come in any order
(docs/decisions/0001).
"""

from __future__ import annotations

from collections.abc import Awaitable

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Verdict
from ingressd.http.authority import canonical_host
from ingressd.http.forwarded import new_request_id
from ingressd.http.framing import NONE, body_decoder, request_framing
from ingressd.http.target import canonicalise, split_absolute
from ingressd.proxy.attempts import Attempts
from ingressd.proxy.relay import UPGRADE, broken
from ingressd.proxy.request_body import RequestBody, body_too_large
from ingressd.table.route import Route

_ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})


class Exchange(Attempts):
    """First and second stage: the head, then the route and its filters."""

    __slots__ = ()

    # The head: fields, framing, canonical host and path.

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
        framing = request_framing(head.minor, fields)
        self.fields = fields
        if framing is not NONE:
            self._framing = framing
            self.decoder = body_decoder(framing, self._context.limits, request=True)
        self._keep = not fields.close and (head.minor == 1 or fields.keep_alive)
        downstream = self._downstream
        forwarded = downstream.forwarded
        if forwarded.trusted:
            self.request_id = forwarded.request_id(fields)
            self.client_address, self.scheme = forwarded.origin(fields)
        else:
            self.request_id = new_request_id()
        target = head.target
        # RFC 9112 section 3.2: also a Host that is about to be replaced has to be there, and to be one.
        if head.host is not None:
            self.authority, self.host = head.host
        elif fields.host:
            self.host = canonical_host(fields.host)
            self.authority = fields.host.decode("latin-1")
        elif head.minor == 1:
            missing = "no Host field" if fields.host is None else "empty Host"
            raise LocalReply(400, Reason.BAD_REQUEST, missing, close=True)
        if target[0] != "/":
            if head.method == "CONNECT":
                raise _method_not_allowed()
            if target == "*":
                if head.method != "OPTIONS":
                    raise LocalReply(400, Reason.BAD_REQUEST, "`*` is a target for OPTIONS only", close=True)
                raise LocalReply(200, Reason.OPTIONS, headers=((b"Allow", _ALLOW),))
            # RFC 9112 section 3.2.2: Host is ignored and replaced.
            _, self.authority, target = split_absolute(target)
            self.host = canonical_host(self.authority.encode("ascii"))
        if head.method in _REFUSED_METHODS:
            raise _method_not_allowed()
        expects_continue = False
        if fields.expect is not None:
            if fields.expect.lower() != b"100-continue":
                raise LocalReply(417, Reason.EXPECTATION_FAILED, "only 100-continue is understood")
            expects_continue = head.minor == 1
        self.path = head.path or canonicalise(target)[0]
        if self.decoder is not None:
            self._body = RequestBody(
                downstream,
                chunked=framing.length is None,
                expects_continue=expects_continue,
                high_bytes=self._context.limits.buffer_high_bytes,
            )
        # A request that has a body is no upgrade: the two ends of the tunnel would not agree where it begins.
        self._upgrading = fields.upgrades_to_websocket and self.decoder is None

    # The route and its filters.

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
                raise body_too_large(policy.request_body_bytes)
        return route

    def _pass_filters(self, route: Route, start: int) -> bool:
        """Run the filters from number `start` on; False when one of them waits. Raises LocalReply."""
        for number in range(start, len(route.filters)):
            try:
                verdict: Verdict | Awaitable[Verdict] = route.filters[number].on_request(self)
            except LocalReply:
                raise
            except Exception as problem:
                raise broken(route.filters[number]) from problem
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
            reply = broken(route.filters[number])
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
        if edits is None or edits.fields is None:
            lines = self._downstream.forwarded.whole(fields, authority, self.request_id)
        else:
            lines = b"".join(edits.fields.lines)
        if edits is not None:
            for fixed in edits.added:
                lines += fixed.together
            method = edits.method or method
            target = edits.target or target
            authority = edits.authority or authority
            pool = edits.pool or pool
        self._pool = self._context.registry.pools.get(pool)
        start = f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\n".encode("latin-1")
        if self._framing is NONE and not self._upgrading:
            self._request_bytes = b"%b%b\r\n" % (start, lines)
        else:
            last = UPGRADE if self._upgrading else self._framing.field
            self._request_bytes = b"%b%b%b\r\n" % (start, lines, last)


def _method_not_allowed() -> LocalReply:
    return LocalReply(405, Reason.METHOD_NOT_ALLOWED, headers=((b"Allow", _ALLOW),), close=True)
