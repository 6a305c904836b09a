"""Control frames between the supervisor and a child: small JSON messages, with sockets when needed.

In: dicts and sockets to pass on (SCM_RIGHTS). Out: the same at the other end. Never blocks: what the peer does not
take yet waits here. Standard library only, because the supervisor imports it.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]

HEADER = struct.Struct("!I")
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Settings with a path for every manifest of a large site fit; a broken peer cannot make us buffer more."""

_READ_BYTES = 64 * 1024
_MAX_DESCRIPTORS = 16
_ANCILLARY_BYTES = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4)


class ChannelError(Exception):
    """The peer broke the protocol: the channel cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message with the sockets that came along; the receiver owns them."""

    message: Message
    sockets: tuple[socket.socket, ...] = ()


@dataclass(slots=True)
class _Outgoing:
    rest: memoryview
    sockets: list[socket.socket] = field(default_factory=list)


class Channel:
    """One end of a Unix stream socket, non-blocking."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._outgoing: deque[_Outgoing] = deque()
        self._incoming = bytearray()
        self._descriptors: deque[int] = deque()
        self.closed = False
        """The peer is gone, or close() was called. What could not be sent is dropped with close()."""

    def fileno(self) -> int:
        """For selectors; -1 after close()."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Something waits for the peer: call flush() when the socket is writable."""
        return bool(self._outgoing) and not self.closed

    @property
    def idle(self) -> bool:
        """Nothing is half sent or half received: the descriptor says all, and another process image may go on."""
        return not (self._outgoing or self._incoming or self._descriptors)

    def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> None:
        """Send or queue one message. Takes over `sockets`: they are closed here once they have been passed on."""
        if len(sockets) > _MAX_DESCRIPTORS:
            raise ValueError(f"{len(sockets)} sockets in one message, at most {_MAX_DESCRIPTORS}")
        body = json.dumps({**message, "sockets": len(sockets)}, separators=(",", ":")).encode()
        if len(body) > MAX_FRAME_BYTES:
            raise ValueError(f"a message of {len(body)} bytes, at most {MAX_FRAME_BYTES}")
        self._outgoing.append(_Outgoing(memoryview(HEADER.pack(len(body)) + body), list(sockets)))
        self.flush()

    def flush(self) -> None:
        """Write what the peer takes now. A peer that is gone sets `closed`: its end is noticed elsewhere."""
        while self._outgoing and not self.closed:
            first = self._outgoing[0]
            rights = [sock.fileno() for sock in first.sockets]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", rights))] if rights else []
            try:
                sent = self._sock.sendmsg([first.rest], ancillary)
            except BlockingIOError:
                return
            except OSError:
                # The socket stays open, for whoever watches it to take it off the watch before its number is reused.
                self.closed = True
                return
            _close_all(first.sockets)
            first.rest = first.rest[sent:]
            if not first.rest:
                self._outgoing.popleft()

    def receive(self) -> list[Received]:
        """Every whole message that has arrived; empty when none has. Raises ChannelError; sets `closed` at the end."""
        self._read()
        received: list[Received] = []
        while (one := self._next()) is not None:
            received.append(one)
        return received

    def wait(self, timeout_s: float) -> Received:
        """Block for one message: only for a child's first. Raises TimeoutError, EOFError, ChannelError."""
        deadline = time.monotonic() + timeout_s
        while (one := self._next()) is None:
            if self.closed:
                raise EOFError("the other process is gone")
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._sock], [], [], left)[0]:
                raise TimeoutError("no message from the other process")
            self._read()
        return one

    def close(self) -> None:
        """Close this end and every socket still in it. Closing twice is fine."""
        self.closed = True
        for outgoing in self._outgoing:
            _close_all(outgoing.sockets)
        self._outgoing.clear()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._sock.close()

    def _read(self) -> None:
        while not self.closed:
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(_READ_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            for level, kind, payload in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    rights = array.array("i")
                    rights.frombytes(payload[: len(payload) - len(payload) % rights.itemsize])
                    self._descriptors.extend(rights)
            if flags & socket.MSG_CTRUNC:
                raise ChannelError("descriptors were lost on the way: the limit of open files is too low")
            if not data:
                self.closed = True
            self._incoming += data

    def _next(self) -> Received | None:
        incoming = self._incoming
        if len(incoming) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(incoming)
        if length > MAX_FRAME_BYTES:
            raise ChannelError(f"a frame of {length} bytes, at most {MAX_FRAME_BYTES}")
        end = HEADER.size + length
        if len(incoming) < end:
            return None
        message: Message = json.loads(incoming[HEADER.size : end])
        del incoming[:end]
        expected = int(message.pop("sockets", 0))
        if expected > len(self._descriptors):
            raise ChannelError(f"{expected} sockets announced, {len(self._descriptors)} came")
        return Received(message, tuple(socket.socket(fileno=self._descriptors.popleft()) for _ in range(expected)))


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
    sockets.clear()
