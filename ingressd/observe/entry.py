"""Entry: one finished request, as the access log and the counters see it. proxy.Exchange is one."""

from __future__ import annotations

from typing import Protocol

from ingressd.table.route import Route


class Entry(Protocol):
    """Everything that is known when a request has ended, whatever ended it."""

    started_at: float
    """Epoch seconds."""
    duration_s: float
    client_address: str
    client_port: int
    scheme: str
    method: str
    """Empty when the head could not be read; then target, host and version are empty too."""
    target: str
    version: str
    """`HTTP/1.1`."""
    host: str
    """Lower case, without port."""
    authority: str
    """The Host field as sent."""
    request_id: str
    status: int
    reason: str
    """errors.Reason of a local reply or of a cut response; empty when the upstream answered."""
    route: Route | None
    bytes_in: int
    """Bytes of the request body."""
    bytes_out: int
    """Bytes of the response body."""
    attempts: int
    upstream_address: str
    """Of the last attempt; empty when there was none."""
    upstream_status: int
    """0 = no response came."""
    upstream_duration_s: float | None
    """From the last attempt's start to the end."""

    @property
    def user(self) -> str:
        """Whom Basic authentication or a token has let in, by name; empty = nobody was asked, or nobody was let in."""

    @property
    def user_agent(self) -> str:
        """The User-Agent field, or nothing."""

    @property
    def referer(self) -> str:
        """The Referer field, or nothing."""
