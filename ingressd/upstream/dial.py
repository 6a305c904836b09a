"""Dial: open one connection to an endpoint within its time."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time

from ingressd.clock import Wheel
from ingressd.errors import Reason
from ingressd.observe.sparing import Sparing
from ingressd.settings import Limits
from ingressd.upstream.connecting import begin, finish
from ingressd.upstream.connection import UpstreamConnection
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.secure import Secure, TooDeep

_log = Sparing(logging.getLogger(__name__))

_PATIENCE = 5
"""Linux counts TCP_USER_TIMEOUT also while a slow peer's window is full: our own timeouts come first."""


class DialFailed(Exception):
    """No connection; nothing was sent."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


async def dial(endpoint: EndpointState, connect_s: float, limits: Limits, wheel: Wheel) -> UpstreamConnection:
    """Connect to `endpoint` in at most `connect_s` seconds. Raises DialFailed."""
    loop = asyncio.get_running_loop()
    endpoint.connects += 1
    tls = endpoint.tls
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # no descriptor is left: that is not the endpoint's fault
        raise DialFailed(Reason.OVERLOAD, error.strerror or "no descriptor is left") from None
    try:
        sock.setblocking(False)
        tune(sock, limits)
        async with asyncio.timeout(connect_s):
            if not begin(sock, (endpoint.address, endpoint.port)):
                await finish(loop, sock)
            _, connection = await loop.create_connection(
                lambda: UpstreamConnection(endpoint, sock, limits, wheel, loop),
                sock=sock,
                ssl=None if tls is None else tls.context,
                server_hostname=None if tls is None else tls.server_name,
            )
        if tls is not None and tls.longest:
            _judge(tls, connection)
    except TimeoutError:
        sock.close()
        endpoint.failed(time.monotonic())
        raise DialFailed(Reason.CONNECT_TIMEOUT, f"no connection within {connect_s:g} s") from None
    except ConnectionRefusedError:
        sock.close()
        endpoint.failed(time.monotonic())
        raise DialFailed(Reason.CONNECT_REFUSED, "connection refused") from None
    except ssl.SSLCertVerificationError as error:
        sock.close()
        endpoint.failed(time.monotonic())
        why = getattr(error, "verify_message", error.args[0])
        _log.warning("%s: its certificate is not accepted: %s", endpoint.key, why)
        raise DialFailed(Reason.CONNECT_FAILED, "the certificate of the endpoint is not accepted") from None
    except OSError as error:
        sock.close()
        endpoint.failed(time.monotonic())
        raise DialFailed(Reason.CONNECT_FAILED, error.strerror or type(error).__name__) from None
    except BaseException:
        sock.close()
        raise
    if connection.transport is not None:
        connection.transport.set_write_buffer_limits(high=limits.buffer_high_bytes, low=limits.buffer_low_bytes)
    return connection


def _judge(tls: Secure, connection: UpstreamConnection) -> None:
    """Raises TooDeep, with the connection closed."""
    transport = connection.transport
    if transport is None:
        return
    try:
        tls.judge(transport.get_extra_info("ssl_object"))
    except TooDeep:
        transport.abort()
        raise


def tune(sock: socket.socket, limits: Limits) -> None:
    """No delay for small writes; notice a peer that is gone (TCP keep-alive, RFC 5482 user timeout)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", int(limits.send_gap_s * 1000) * _PATIENCE),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
