"""Ports of Services: each worker opens a socket of its own on each, and the kernel shares out what comes.

In: a StreamListener. Out: a bound socket, listening if it is for TCP, or OSError. Why workers do that themselves:
docs/decisions/0015.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from ingressd.table.stream import TCP, StreamListener

BACKLOG = 4096
"""As that of the HTTP ports; the kernel caps it at net.core.somaxconn."""

_KEEPALIVE_IDLE_S = 30
_KEEPALIVE_GAP_S = 10
_KEEPALIVE_PROBES = 3
_KEPT_ALIVE = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, option), value)
        for option, value in (
            ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", _KEEPALIVE_GAP_S),
            ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        )
        if hasattr(socket, option)
    ),
)

# Not in the socket module of Python 3.11 (linux/in.h, linux/in6.h).
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50


def open_port(listener: StreamListener, *, shared: bool = True) -> socket.socket:
    """Open it, or raise OSError. `shared`: with the other workers, and so with any program of this user that asks for
    the same; without it the port must be nobody else's."""
    tcp = listener.protocol == TCP
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if tcp:
            # For UDP it would mean to take the port away from others.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listener.address == "::" else 1)
        if tcp:
            keep_alive(sock)
        else:
            _ask_for_local_address(sock, family)
        sock.bind((listener.address, listener.port))
        if tcp and shared:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def keep_alive(sock: socket.socket) -> None:
    """No delay for small writes; notice a peer that is gone. Connections inherit it from their listening socket.

    There is no TCP_USER_TIMEOUT: what is passed on has no rule of how long a peer may take nothing.
    """
    for option in _KEPT_ALIVE:
        sock.setsockopt(*option)


def _ask_for_local_address(sock: socket.socket, family: int) -> None:
    """Have the kernel tell with each datagram whom it was for: a reply must come from there (RFC 1122, 4.1.3.5)."""
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
