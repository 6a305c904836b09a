"""Alerts: what OpenSSL has to say to a client whose handshake fails reaches that client.

In: the accepted socket, by `accepted` in the context that the handshake runs in. Out: the alert, on the socket. Event
loops close the connection without sending it (CPython 3.11, uvloop 0.23): the client would see its end, and no reason.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from contextvars import ContextVar

accepted: ContextVar[socket.socket | None] = ContextVar("accepted", default=None)
"""Whose handshake is under way: callbacks of the loop inherit it from the task that began it."""


class _Handshake(ssl.SSLObject):
    """A server's end that sends its alert itself."""

    sock: socket.socket | None = None
    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        """As far as it goes now."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            alert = self.outgoing.read()
            if self.sock is not None and alert:
                with contextlib.suppress(OSError):
                    self.sock.send(alert)
            raise
        self.sock = None


class AlertingContext(ssl.SSLContext):
    """A context whose handshakes do not fail in silence."""

    sslobject_class = _Handshake

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As event loops call it."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(made, _Handshake):
            made.sock = accepted.get()
            made.outgoing = outgoing
        return made
