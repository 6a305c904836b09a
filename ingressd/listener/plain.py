"""AcceptLoop: takes connections off a listening socket.

In: a listening socket. Out: connected sockets, non-blocking, ready for any protocol. A worker without a descriptor
left rests and says so once; the event loops' own accepting spins and fills the log then.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from ingressd.settings import Limits

logger = logging.getLogger(__name__)

_ACCEPTED_AT_ONCE = 64  # others on the loop wait meanwhile: 64 take less than a millisecond
_REST_S = 0.5
_COMPLAINT_GAP_S = 60.0
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


class AcceptLoop:
    """Calls `accepted` with every new connection's socket, which then belongs to the callee."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, accepted: Callable[[socket.socket], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._accepted = accepted
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

    def _watch(self) -> None:
        wanted = self._open and not self._paused and self._rest is None
        if wanted and not self._watching:
            self._loop.add_reader(self._sock, self._accept)
        elif self._watching and not wanted:
            self._loop.remove_reader(self._sock)
        self._watching = wanted

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._watching:
                return
            try:
                connection, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as problem:
                if problem.errno in _OF_ONE_CONNECTION:
                    continue
                self._cannot_accept(problem)
                return
            connection.setblocking(False)
            self._accepted(connection)

    def _cannot_accept(self, problem: OSError) -> None:
        self._rest = self._loop.call_later(_REST_S, self._rested)
        self._watch()
        now = self._loop.time()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_GAP_S
            way_out = " (raise the limit: ulimit -n, LimitNOFILE=)" if problem.errno == errno.EMFILE else ""
            logger.error("cannot accept connections: %s%s", problem.strerror, way_out)

    def _rested(self) -> None:
        self._rest = None
        self._watch()


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
        ("TCP_USER_TIMEOUT", int(limits.response_write_gap_s * 1000)),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
