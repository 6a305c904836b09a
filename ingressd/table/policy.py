"""RoutePolicy: what a route decides about its exchanges beside its filters: times, attempts, bounds, the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ingressd.settings import Limits

ERROR = "error"
"""No connection, or one that broke before the response began."""
CONNECT_TIMEOUT = "connect_timeout"
READ_TIMEOUT = "read_timeout"
INVALID_HEADER = "invalid_header"
NON_IDEMPOTENT = "non_idempotent"
"""Also requests that must not be repeated by themselves, like POST, after they were sent."""


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """Shared by all routes that decide the same. Times in seconds."""

    connect_s: float = 5.0
    read_gap_s: float = 60.0
    """Longest silence of the endpoint between two reads."""
    send_gap_s: float = 60.0
    """Longest time in which the endpoint takes nothing of the request."""
    tries: int = 3
    """Attempts altogether, the first one included; 0 = as many as there are endpoints."""
    tries_s: float = 0.0
    """No attempt begins later than this after the request; 0 = no bound."""
    retry_on: frozenset[str] = frozenset({ERROR, CONNECT_TIMEOUT})
    """After which failures there is another attempt."""
    retry_statuses: frozenset[int] = frozenset()
    """After which statuses there is another attempt, if there is another endpoint."""
    first_byte_s: float = 0.0
    """How long one attempt waits for a response to begin; 0 = read_gap_s."""
    request_s: float = 0.0
    """How long everything may take, until the response is whole; 0 = no bound."""
    request_body_bytes: int = 0
    """0 = no bound."""
    buffers_request: bool = False
    """Take the request body in, as far as the buffer goes, before an endpoint is chosen."""
    access_log: bool = True

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """What holds where no annotation says anything."""
        return cls(
            connect_s=limits.connect_s,
            read_gap_s=limits.read_gap_s,
            send_gap_s=limits.send_gap_s,
            request_body_bytes=limits.request_body_bytes,
        )


DEFAULT_POLICY = RoutePolicy()
