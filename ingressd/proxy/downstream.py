"""Downstream: what an exchange needs from the connection that the request came on. listener/ implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ingressd.http.client_certificate import ClientTls
from ingressd.http.forwarded import ForwardedBlock

if TYPE_CHECKING:
    from ingressd.proxy.outcome import Outcome


class Downstream(Protocol):
    """The client's connection."""

    client_address: str
    """The peer, or what a trusted proxy says the client is."""
    client_port: int
    local_port: int
    """Where the client connected to."""
    scheme: str
    """`http` or `https`."""
    forwarded: ForwardedBlock
    """Builds the X-Forwarded-* fields."""
    closing: bool
    """No request after this one."""
    stalled: bool
    """The client reads too slowly: its write buffer is above the high-water mark."""

    @property
    def client_tls(self) -> ClientTls | None:
        """What its TLS tells of the client; None = it has none."""

    def write(self, data: bytes) -> None:
        """Send response bytes."""

    def hold_body(self) -> None:
        """Read no more of the request body until `resume_body`."""

    def resume_body(self) -> None:
        """Read the request body again."""

    def exchange_ended(self, exchange: Outcome, *, keep: bool) -> None:
        """The response is complete. `keep`: the connection may carry another request."""

    def abort(self) -> None:
        """Close at once: a response that was cut short must look cut short."""

    def become_tunnel(self) -> bytes:
        """Pass everything raw to the exchange from now on; returns what had been read already."""

    def write_eof(self) -> None:
        """Finish sending (a tunnel's half close)."""

    def close(self) -> None:
        """Close after what was written."""
