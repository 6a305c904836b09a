"""Idle: keep-alive connections that had one answer each and then only stay open, for the time of a block.

In: a port and a number. Out: nothing but their weight on the proxy.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.clients.sample import ClientError
from bench.process import ADDRESS

ANSWER_S = 30.0


@contextmanager
def idle_connections(port: int, host: str, count: int) -> Iterator[None]:
    """Hold `count` connections. Raises ClientError when one has no answer, or is closed at the end of the block."""
    request = f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with ExitStack() as stack:
        connections = []
        for number in range(count):
            connection = stack.enter_context(socket.create_connection((ADDRESS, port), ANSWER_S))
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise ClientError(f"idle connection {number} had no answer 200")
            connections.append(connection)
        yield
        closed = sum(_closed(connection) for connection in connections)
        if closed:
            raise ClientError(f"{closed} of {count} idle connections were closed meanwhile")


def _closed(connection: socket.socket) -> bool:
    """Whether nothing more can come: what is left of the first answer is read away."""
    connection.setblocking(False)
    try:
        while data := connection.recv(65536):
            del data
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
