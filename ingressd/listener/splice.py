"""Splice: two TCP connections joined, whatever is spoken on them.

In: the client's and the endpoint's connection. Out: the bytes of each on the other, with backpressure and half close
both ways; a reset of one resets the other. It never knows how the two came to be.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from ingressd.clock import NEVER, Wheel
from ingressd.errors import Reason
from ingressd.listener.plain import reset_when_closed
from ingressd.settings import Limits


class Splice:
    """Both directions. `ended` is called once, when both connections are gone. Implements clock.Timed."""

    __slots__ = ("_ended", "_idle_s", "_wheel", "deadline", "downstream", "reason", "upstream", "wheel_tick")

    def __init__(
        self,
        client: socket.socket,
        endpoint: socket.socket,
        limits: Limits,
        wheel: Wheel,
        idle_s: float,
        ended: Callable[[], None],
    ) -> None:
        self.deadline = NEVER
        self.wheel_tick = 0
        self.reason = ""
        """What ended it early, if it was no proper end of both."""
        self._wheel = wheel
        self._idle_s = idle_s
        self._ended = ended
        self.downstream = Side(self, client, limits)
        self.upstream = Side(self, endpoint, limits)
        self.downstream.other, self.upstream.other = self.upstream, self.downstream

    async def join(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let bytes pass from now on. The sockets are the splice's, whatever happens. Raises OSError."""
        try:
            # The client last: it is the one who may send a lot unasked.
            await loop.connect_accepted_socket(lambda: self.upstream, self.upstream.sock)
            if not self.upstream.gone:
                await loop.connect_accepted_socket(lambda: self.downstream, self.downstream.sock)
        finally:
            for side in (self.upstream, self.downstream):
                side.give_up()
        if self._idle_s and not self.upstream.gone:
            self._wheel.arm(self, self._idle_s)

    def heard(self) -> None:
        """Something came."""
        if self._idle_s:
            self.deadline = self._wheel.now + self._idle_s

    def on_deadline(self) -> None:
        """Both have been silent for too long."""
        self.reason = Reason.IDLE
        self.cut()

    def cut(self) -> None:
        """Reset both connections."""
        self.deadline = NEVER
        for side in (self.downstream, self.upstream):
            side.reset()

    def left(self, side: Side, *, properly: bool) -> None:
        """A side is gone."""
        if not properly and not self.reason:
            self.reason = Reason.CLIENT_ABORT if side is self.downstream else Reason.UPSTREAM_RESET
        if self.downstream.gone and self.upstream.gone:
            self.deadline = NEVER
            self._ended()


class Side(asyncio.Protocol):
    """One of the two connections."""

    __slots__ = (
        "_doomed",
        "_early",
        "_held",
        "_limits",
        "_made",
        "_splice",
        "_transport",
        "bytes",
        "finished",
        "gone",
        "other",
        "sock",
    )

    other: Side

    def __init__(self, splice: Splice, sock: socket.socket, limits: Limits) -> None:
        self.sock = sock
        self.bytes = 0
        """Received here."""
        self.finished = False
        """It has said all."""
        self.gone = False
        self._splice = splice
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._made = False
        self._doomed = False
        """Reset it as soon as it has a transport."""
        self._early = b""
        """Came before the other side was there: one read, or two."""
        self._held = False
        """The other side takes no more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._made = True
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=self._limits.buffer_high_bytes, low=self._limits.buffer_low_bytes)
        if self._doomed:
            self.reset()
        else:
            self.other.catch_up(transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.bytes += len(data)
        self._splice.heard()
        transport = self.other._transport
        if transport is not None:
            transport.write(data)
        elif not self.other.gone:
            # Only now: uvloop reads on when connection_made has paused it.
            self._early += data
            self.hold()

    def eof_received(self) -> bool:
        """See asyncio.Protocol. The other direction may go on."""
        self.finished = True
        self._splice.heard()
        other = self.other._transport
        if self.other.finished:
            self.close()
            self.other.close()
        elif other is not None and not other.is_closing():
            other.write_eof()
        return True

    def catch_up(self, transport: asyncio.Transport) -> None:
        """The other side is there: it gets what has come before."""
        if self._early:
            early, self._early = self._early, b""
            transport.write(early)
        if self.finished:
            transport.write_eof()
        self.release()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.other.hold()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.other.release()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self.gone = True
        self._transport = None
        properly = exc is None and self.finished and self.other.finished
        self._splice.left(self, properly=properly)
        if not properly:
            self.other.reset()

    def hold(self) -> None:
        """Read no more."""
        if self._transport is not None and not self._held:
            self._held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read on."""
        if self._transport is not None and self._held:
            self._held = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after what was written."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close at once, so that the peer sees it was no proper end."""
        if self._transport is not None:
            reset_when_closed(self.sock)
            self._transport.abort()
        else:
            self._doomed = True

    def give_up(self) -> None:
        """If it has no transport, it will not get one."""
        if not self._made:
            self._made = self.gone = True
            reset_when_closed(self.sock)
            self.sock.close()
            self.other.reset()
            self._splice.left(self, properly=True)
