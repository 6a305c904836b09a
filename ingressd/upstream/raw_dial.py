"""Raw dial: a connected socket to an endpoint, for what is passed on as it is."""

from __future__ import annotations

import asyncio
import socket
import time

from ingressd.errors import Reason
from ingressd.upstream.connecting import begin, finish
from ingressd.upstream.dial import DialFailed
from ingressd.upstream.endpoint import EndpointState


def tcp_socket(endpoint: EndpointState) -> socket.socket:
    """A non-blocking TCP socket of the endpoint's family. Raises DialFailed."""
    return _socket(endpoint, socket.SOCK_STREAM)


def udp_socket(endpoint: EndpointState) -> socket.socket:
    """A UDP socket that speaks with the endpoint alone. Raises DialFailed, also when there is no way to it."""
    sock = _socket(endpoint, socket.SOCK_DGRAM)
    endpoint.connects += 1
    try:
        sock.connect((endpoint.address, endpoint.port))
    except OSError as error:
        sock.close()
        endpoint.failed(time.monotonic())
        raise DialFailed(Reason.CONNECT_FAILED, error.strerror or type(error).__name__) from None
    return sock


async def connect(sock: socket.socket, endpoint: EndpointState, connect_s: float) -> None:
    """Connect `sock` to `endpoint` in at most `connect_s` seconds. Raises DialFailed, with the socket closed."""
    endpoint.connects += 1
    began = time.monotonic()
    try:
        if not begin(sock, (endpoint.address, endpoint.port)):
            async with asyncio.timeout(connect_s):
                await finish(asyncio.get_running_loop(), sock)
    except TimeoutError:
        reason, detail = Reason.CONNECT_TIMEOUT, f"no connection within {connect_s:g} s"
    except ConnectionRefusedError:
        reason, detail = Reason.CONNECT_REFUSED, "connection refused"
    except OSError as error:
        reason, detail = Reason.CONNECT_FAILED, error.strerror or type(error).__name__
    except BaseException:
        sock.close()
        raise
    else:
        # All that layer 4 knows of how quick an endpoint is.
        now = time.monotonic()
        endpoint.answered(now - began, now)
        return
    sock.close()
    endpoint.failed(time.monotonic())
    raise DialFailed(reason, detail)


def _socket(endpoint: EndpointState, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    try:
        sock = socket.socket(family, kind)
    except OSError as error:  # no descriptor is left: that is not the endpoint's fault
        raise DialFailed(Reason.OVERLOAD, error.strerror or "no descriptor is left") from None
    sock.setblocking(False)
    return sock
