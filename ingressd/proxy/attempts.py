"""Attempts: a request on its way to an endpoint, as often as it may try.

In: the composed request, its body as the listener decodes it, failures from an UpstreamConnection. Out: bytes to one
endpoint after the other, until one of them answers or none is left.
"""

from __future__ import annotations

import time

from ingressd.errors import LocalReply, Reason
from ingressd.proxy.expiry import Expiry
from ingressd.proxy.relay import Relay
from ingressd.proxy.request_body import body_too_large
from ingressd.proxy.retry import may_retry, may_retry_status
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


class Attempts(Relay):
    """Third stage: pick an endpoint, take a connection or dial one, send. Implements upstream.ResponseSink."""

    __slots__ = ()

    def _start(self) -> None:
        body, policy = self._body, self.policy
        if policy.request_s:
            self.at_end(Expiry(self._context.wheel, policy.request_s, self._expired).cancel)
        if body is not None and policy.buffers_request and not body.complete:
            body.gather()
        elif (pool := self._pool) is None or pool.breaker is None:
            self._attempt()
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

    @property
    def _upstream_method(self) -> str:
        edits = self.edits
        return self.method if edits is None else edits.method or self.method

    # The request body, as the listener decodes it.

    def request_body(self, pieces: list[bytes], complete: bool) -> None:
        """More of the request body, or its end."""
        body = self._body
        if body is None or self.ended:
            return
        if self.edits is not None:
            for tap in self.edits.taps:
                tap(b"".join(pieces), complete)
        if not body.receive(pieces, complete):
            self.fail(body_too_large(body.limit_bytes))
        elif body.gathering and (complete or body.full):
            body.gathering = False
            self._enter()

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
