"""RequestBody: the upload, between a client that sends and an endpoint that reads, at the slower one's pace.

Pieces enter as the listener decodes them, framed bytes leave to the upstream connection. It holds at most
the high-water mark plus one read; what was sent is kept, up to that mark, so that a failed attempt can be repeated.
"""

from __future__ import annotations

from ingressd.errors import LocalReply, Reason
from ingressd.http.framing import LAST_CHUNK, encode_chunk
from ingressd.proxy.downstream import Downstream
from ingressd.upstream.connection import UpstreamConnection

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestBody:
    """One request's body. Only requests that have one get this object."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_downstream",
        "_held",
        "_high_bytes",
        "_kept",
        "_kept_bytes",
        "_stalled",
        "_waiting",
        "_waiting_bytes",
        "complete",
        "expects_continue",
        "gathering",
        "limit_bytes",
        "received_bytes",
        "replayable",
    )

    def __init__(self, downstream: Downstream, *, chunked: bool, expects_continue: bool, high_bytes: int) -> None:
        self.complete = False
        """The client has sent all of it."""
        self.received_bytes = 0
        self.replayable = True
        self.expects_continue = expects_continue
        """The client waits for 100 (Continue) before it sends anything (RFC 9110 section 10.1.1)."""
        self.limit_bytes = 0
        """0 = no bound. Set when the route is known."""
        self.gathering = False
        """No endpoint is asked before all of it is there, or as much as may be held."""
        self._downstream = downstream
        self._chunked = chunked
        self._high_bytes = high_bytes
        self._connection: UpstreamConnection | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._stalled = False
        self._held = False

    def receive(self, pieces: list[bytes], complete: bool) -> bool:
        """Take what the client sent; False when the body is above its limit now, and these pieces go nowhere."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.received_bytes += len(data)
        if 0 < self.limit_bytes < self.received_bytes:
            return False
        self.complete = complete
        connection = self._connection
        if connection is None or self._stalled:
            if data:
                self._waiting.append(data)
                self._waiting_bytes += len(data)
            if self._waiting_bytes > self._high_bytes and not complete and not self._held:
                self._held = True
                self._downstream.hold_body()
        else:
            self._send(connection, data)
        return True

    def gather(self) -> None:
        """Let the client send before an endpoint is asked."""
        self.gathering = True
        self._invite()

    @property
    def full(self) -> bool:
        """As much of it waits as may be held."""
        return self._waiting_bytes > self._high_bytes

    def attach(self, connection: UpstreamConnection, head: bytes) -> None:
        """Send the request head and what has come of the body; go on as more comes."""
        self._connection = connection
        self._stalled = False
        data = b"".join((*self._kept, *self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0
        self._kept.clear()
        self._kept_bytes = 0
        self._invite()
        self._send(connection, data, head)
        if connection.writing_paused:
            self.stall()
        else:
            self._release()

    def detach(self) -> None:
        """The attempt is over: hold what comes until the next one, or until the exchange ends."""
        self._connection = None
        self._stalled = False

    def stall(self) -> None:
        """The endpoint reads too slowly."""
        self._stalled = True
        if not self.complete and not self._held:
            self._held = True
            self._downstream.hold_body()

    def flow(self) -> None:
        """The endpoint reads again."""
        self._stalled = False
        connection = self._connection
        if connection is not None and self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._send(connection, data)
            if self._stalled:
                return
        self._release()

    def _invite(self) -> None:
        """Tell a client that waits for it to go on (RFC 9110 section 10.1.1)."""
        if self.expects_continue and not self.received_bytes:
            self.expects_continue = False
            self._downstream.write(_CONTINUE)

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._downstream.resume_body()

    def _send(self, connection: UpstreamConnection, data: bytes, head: bytes = b"") -> None:
        if data and self.replayable:
            self._kept_bytes += len(data)
            if self._kept_bytes > self._high_bytes:
                self.replayable = False
                self._kept.clear()
            else:
                self._kept.append(data)
        if self._chunked:
            framed = encode_chunk(data) if data else b""
            if self.complete:
                framed += LAST_CHUNK
        else:
            framed = data
        if head or framed or self.complete:
            connection.send(head + framed if head else framed, last=self.complete)


def body_too_large(limit: int) -> LocalReply:
    """The answer to a body of more than `limit` bytes."""
    return LocalReply(413, Reason.BODY_TOO_LARGE, f"the request body is above {limit} bytes", close=True)
