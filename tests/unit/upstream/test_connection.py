"""Idle upstream connections: when one may be used again."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ingressd.clock import Wheel
from ingressd.settings import Limits
from ingressd.table.policy import DEFAULT_POLICY
from ingressd.upstream.connection import UpstreamConnection
from ingressd.upstream.dial import dial
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.secure import Secure
from tests.support.certificates import authority
from tests.support.loops import on_both_loops


class Sink:
    """Takes one response."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def response_started(self, *parts: object) -> None:
        assert parts[-1], "the response is not whole"
        self.ended.set()


class Endpoint:
    """A blocking TLS endpoint in a thread: it answers once, and says more when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.port = int(sock.getsockname()[1])
        self.speak, self.spoken, self.leave = threading.Event(), threading.Event(), threading.Event()
        self._sock = sock
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert("localhost").configure_cert(self._context)

    def serve(self) -> None:
        accepted, _ = self._sock.accept()
        with closing(self._context.wrap_socket(accepted, server_side=True)) as connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.speak.wait(10)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
            self.spoken.set()
            self.leave.wait(10)


@contextmanager
def tls_endpoint() -> Iterator[Endpoint]:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        endpoint = Endpoint(sock)
        thread = threading.Thread(target=endpoint.serve)
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.speak.set()
            endpoint.leave.set()
            thread.join()


async def connected(port: int) -> UpstreamConnection:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    state = EndpointState("127.0.0.1", port, f"127.0.0.1:{port}", Secure(context, "", 0), Limits())
    state.references = 1
    return await dial(state, 5.0, Limits(), Wheel(asyncio.get_running_loop()))


@on_both_loops
async def test_a_tls_connection_on_which_something_waits_in_the_kernel_is_not_used_again() -> None:
    with tls_endpoint() as endpoint:
        connection = await connected(endpoint.port)
        assert connection.quiet()
        sink = Sink()
        connection.begin(sink, DEFAULT_POLICY, "GET", upgrade=False)  # type: ignore[arg-type]
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", last=True)
        await asyncio.wait_for(sink.ended.wait(), 10)
        assert connection.endpoint.idle == [connection]
        assert connection.quiet()
        endpoint.speak.set()
        assert endpoint.spoken.wait(10)  # the loop does not turn meanwhile: nobody has read it
        assert not connection.quiet()
        assert connection.endpoint.take_idle() is None
        endpoint.leave.set()
        await asyncio.sleep(0)
