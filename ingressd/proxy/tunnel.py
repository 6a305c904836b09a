"""Tunnel: after 101 both sides are bytes. It lives as long as the peers do: no idle timeout, no reload ends it."""

from __future__ import annotations

from ingressd.proxy.downstream import Downstream
from ingressd.upstream.connection import UpstreamConnection


class Tunnel:
    """Joins a client's connection and an upstream connection, with backpressure and half close both ways."""

    __slots__ = ("_client_done", "_connection", "_downstream", "_upstream_done", "bytes_down", "bytes_up")

    def __init__(self, downstream: Downstream, connection: UpstreamConnection) -> None:
        self._downstream = downstream
        self._connection = connection
        self._client_done = False
        self._upstream_done = False
        self.bytes_up = 0
        self.bytes_down = 0

    def from_client(self, data: bytes) -> None:
        """Client to endpoint."""
        self.bytes_up += len(data)
        self._connection.write(data)

    def from_upstream(self, data: bytes) -> None:
        """Endpoint to client."""
        self.bytes_down += len(data)
        self._downstream.write(data)

    def client_eof(self) -> None:
        """The client has finished sending."""
        self._client_done = True
        self._connection.write_eof()
        if self._upstream_done:
            self.close()

    def upstream_eof(self) -> None:
        """The endpoint has finished sending."""
        self._upstream_done = True
        self._downstream.write_eof()
        if self._client_done:
            self.close()

    def close(self) -> None:
        """Both sides close after what was written to them."""
        self._downstream.close()
        self._connection.finish_tunnel()
