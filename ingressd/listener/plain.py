"""The TCP end of the listener: AcceptLoop, which accepts, and PlainAcceptor, which serves what is not encrypted.

In: a listening socket. Out: connected sockets, non-blocking, ready for any protocol. A worker without a descriptor
left tells one client so, rests, and says so once; the event loops' own accepting spins and fills the log then.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import socket
import struct
import termios
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.http.local_reply import render
from ingressd.listener.gate import Admission, Gate
from ingressd.listener.introductions import Introductions
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits

logger = logging.getLogger(__name__)

_ACCEPTED_AT_ONCE = 64  # others on the loop wait meanwhile: 64 take less than a millisecond
_REST_S = 0.5
_COMPLAINT_GAP_S = 60.0
_FAREWELL_BYTES = 64 * 1024
_OF_ONE_CONNECTION = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.ENONET,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
"""What Linux tells of a connection that failed before it was accepted (accept(2)): the next one may be well."""

_KEEPALIVE_IDLE_S = 30
_KEEPALIVE_GAP_S = 10
_KEEPALIVE_PROBES = 3
_RESET = struct.pack("ii", 1, 0)
_USER_TIMEOUT_GAPS = 5
"""Measured: with one, Linux resets a client that reads slowly through a small window, however steadily it reads."""


class AcceptLoop:
    """Calls `accepted` with every new connection's socket, which then belongs to the callee, and its peer's address."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        accepted: Callable[[socket.socket, Any], None],
        farewell: Callable[[], bytes],
        stats: WorkerStats,
        connection: Callable[[int], Any] | None = None,
    ) -> None:
        """`connection` makes of a descriptor what `accepted` gets, if that is to be no socket."""
        self._loop = loop
        self._sock = sock
        self._connection = connection or partial(_socket, sock.family)
        self._accepted = accepted
        self._farewell = farewell
        """What a client is told for which there is no descriptor."""
        self._stats = stats
        self._spare = _spare_descriptor()
        self._turned_away: socket.socket | None = None
        self._open = False
        self._paused = False
        self._rest: asyncio.TimerHandle | None = None
        self._watching = False
        self._next_complaint = loop.time()

    def start(self) -> None:
        """Accept from now on."""
        self._open = True
        self._watch()

    def pause(self) -> None:
        """Leave new connections in the backlog until `resume`."""
        self._paused = True
        self._watch()

    def resume(self) -> None:
        """Accept again after `pause`."""
        self._paused = False
        self._watch()

    def stop(self) -> None:
        """Accept no more and close the listening socket."""
        self._open = False
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._watch()
        self._sock.close()
        self._let_go()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _watch(self) -> None:
        wanted = self._open and not self._paused and self._rest is None
        if wanted and not self._watching:
            self._loop.add_reader(self._sock, self._accept)
        elif self._watching and not wanted:
            self._loop.remove_reader(self._sock)
        self._watching = wanted

    def _accept(self) -> None:
        # Not accept(): it asks the new socket and two enums what it is, though it is as the listening one.
        accept = self._sock._accept  # type: ignore[attr-defined]
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._watching:
                return
            try:
                number, peer = accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as problem:
                if problem.errno in _OF_ONE_CONNECTION:
                    continue
                self._cannot_accept(problem)
                return
            self._accepted(self._connection(number), peer)

    def _cannot_accept(self, problem: OSError) -> None:
        self._stats.accept_pauses_total += 1
        self._turn_one_away()
        self._rest = self._loop.call_later(_REST_S, self._rested)
        self._watch()
        now = self._loop.time()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_GAP_S
            way_out = " (raise the limit: ulimit -n, LimitNOFILE=)" if problem.errno == errno.EMFILE else ""
            logger.error("cannot accept connections: %s%s", problem.strerror, way_out)

    def _rested(self) -> None:
        self._rest = None
        self._let_go()
        if self._spare is None:
            self._spare = _spare_descriptor()
        self._watch()

    def _turn_one_away(self) -> None:
        """Spend the spare descriptor on an answer; the others wait in the backlog, where they may still be served."""
        if self._spare is None:
            return
        os.close(self._spare)
        self._spare = None
        with suppress(OSError):
            self._turned_away, _ = self._sock.accept()
            self._stats.connections_refused_total += 1
            self._turned_away.setblocking(False)
            self._turned_away.send(self._farewell())
            self._turned_away.shutdown(socket.SHUT_WR)

    def _let_go(self) -> None:
        """Close it only now, with its request read: a reset must not overtake the answer."""
        connection, self._turned_away = self._turned_away, None
        if connection is not None:
            with connection, suppress(OSError):
                connection.recv(_FAREWELL_BYTES)


class Descriptor:
    """An accepted connection, as far as uvloop needs a socket for it: 5 us less than one, which tells more."""

    __slots__ = ("_number", "family")

    type = int(socket.SOCK_STREAM)

    def __init__(self, family: int, number: int) -> None:
        self.family = family
        self._number = number

    def fileno(self) -> int:
        """See socket.socket."""
        return self._number

    def close(self) -> None:
        """uvloop calls this when it has closed the descriptor itself: it may be another's by now."""
        self._number = -1

    def discard(self) -> None:
        """Close it, unless uvloop has."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)


class PlainAcceptor:
    """Accepts connections, and hands each to a protocol."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        factory: Callable[[Admission], asyncio.BaseProtocol],
        limits: Limits,
        gate: Gate,
        stats: WorkerStats,
        introductions: Introductions | None = None,
    ) -> None:
        self._loop = loop
        self._factory = factory
        self._gate = gate
        self._introductions = introductions
        self._head_s = limits.request_head_s
        self._opening: dict[asyncio.Future[Any], tuple[Coroutine[Any, Any, Any], Any, Admission]] = {}
        """By what the loop sets when the protocol has its transport."""
        connection: Callable[[int], Any] | None = None
        self._discard: Callable[[Any], None] = socket.socket.close
        if introductions is None and not isinstance(loop, asyncio.BaseEventLoop):
            connection, self._discard = partial(Descriptor, int(sock.family)), Descriptor.discard
        tune(sock, limits)
        self._accepting = AcceptLoop(loop, sock, self._accepted, _overloaded, stats, connection)
        gate.guard(self._accepting)

    def start(self) -> None:
        """Accept from now on."""
        self._accepting.start()

    def stop(self) -> None:
        """Accept no more."""
        self._accepting.stop()

    def cut(self) -> None:
        """End what no protocol has taken over yet."""
        while self._opening:
            _, (opening, connection, admission) = self._opening.popitem()
            opening.close()
            self._lost(connection, admission)

    def _accepted(self, connection: Any, peer: Any) -> None:
        admission = self._gate.admit(peer)
        if admission is None:
            self._discard(connection)
            return
        if self._introductions is not None and self._introductions.due(admission):
            self._introductions.begin(connection, admission, self._head_s, self._introduced, self._lost)
            return
        # With uvloop, a new connection costs less this way than through create_server: 92 instead of 115 us of CPU
        # with its request, because several are accepted at once and the peer's address comes with each. A task around
        # the coroutine would cost another 5: it waits once, and for nothing that takes time.
        opening = self._loop.connect_accepted_socket(partial(self._factory, admission), connection)
        try:
            opened: asyncio.Future[Any] = opening.send(None)
        except Exception as problem:
            logger.debug("a connection was lost when it was accepted: %r", problem)
            self._lost(connection, admission)
            return
        self._opening[opened] = (opening, connection, admission)
        opened.add_done_callback(self._opened)

    async def _introduced(self, sock: socket.socket, admission: Admission) -> None:
        await self._loop.connect_accepted_socket(partial(self._factory, admission), sock)

    def _opened(self, opened: asyncio.Future[Any]) -> None:
        if opened not in self._opening:  # it was cut
            opened.exception()
            return
        opening, connection, admission = self._opening.pop(opened)
        try:
            opening.send(None)
        except StopIteration:
            return
        except Exception as problem:
            logger.debug("a connection was lost when it was accepted: %r", problem)
        self._lost(connection, admission)

    def _lost(self, connection: Any, admission: Admission) -> None:
        admission.end()
        self._discard(connection)


def _socket(family: int, number: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, 0, number)
    sock.setblocking(False)
    return sock


def _spare_descriptor() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def _overloaded() -> bytes:
    """The answer to whoever cannot even be asked what it wants."""
    answer, _ = render(
        LocalReply(
            503, Reason.OVERLOAD, "too busy for another connection", headers=((b"Retry-After", b"1"),), close=True
        ),
        accept=None,
        method="GET",
        keep_alive=False,
        version_10=False,
        request_id="",
        now=time.time(),
    )
    return answer


def tune(sock: socket.socket, limits: Limits) -> None:
    """No delay for small writes; notice a client that is gone (TCP keep-alive, RFC 5482 user timeout).

    `sock` is the listening socket: Linux hands these options down to the connections, at no cost for each.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", _KEEPALIVE_GAP_S),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", int(limits.response_write_gap_s * _USER_TIMEOUT_GAPS * 1000)),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def unsent_bytes(sock: socket.socket) -> int:
    """What the kernel holds for the peer: not sent, or not acknowledged (SIOCOUTQ, tcp(7)); 0 when it is closed."""
    try:
        answer: bytes = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", answer)[0])


def reset_when_closed(sock: socket.socket) -> None:
    """Drop what is unsent: a body that ends with its connection must not look whole (RFC 9112 section 8)."""
    with suppress(OSError, ValueError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
