"""EndpointState: one upstream address with its idle connections and counters. Outlives every snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingressd.balancing.peak_ewma import observed
from ingressd.settings import Limits

if TYPE_CHECKING:
    from ingressd.upstream.connection import UpstreamConnection
    from ingressd.upstream.outlier import Outlier
    from ingressd.upstream.secure import Secure

OK = 200
SERVER_ERROR = 500
FAILED_S = 5.0
"""How slow a failure counts as: as slow as the longest dial (connect_s)."""


class EndpointState:
    """What is known about one address. Shared by every pool that lists it."""

    __slots__ = (
        "active",
        "address",
        "connects",
        "failures",
        "idle",
        "idle_limit",
        "key",
        "latency_at",
        "latency_s",
        "outliers",
        "picks",
        "port",
        "references",
        "suspect",
        "tls",
        "tls_key",
    )

    def __init__(
        self, address: str, port: int, key: str, tls: Secure | None, limits: Limits, tls_key: str = ""
    ) -> None:
        self.address = address
        self.port = port
        self.key = key
        self.tls = tls
        """None = it is spoken to without."""
        self.tls_key = tls_key
        """UpstreamTls.key; empty = none."""
        self.idle_limit = limits.upstream_idle_connections
        self.idle: list[UpstreamConnection] = []
        """The last one is the one used last: taken first, so that the others can age and close."""
        self.active = 0
        """Requests in flight."""
        self.latency_s = 0.0
        """From the end of a request to the head of its answer, see peak_ewma.py; 0 = none has come yet."""
        self.latency_at = 0.0
        """When the last one came, monotonic."""
        self.picks = 0
        self.connects = 0
        self.failures = 0
        self.references = 0
        """Pools that list this address."""
        self.outliers: dict[Outlier, None] = {}
        """Those that are told what attempts meet here: one for each pool that ejects."""
        self.suspect = False
        """One of them wants to know of good answers, too."""

    def __repr__(self) -> str:
        return f"<EndpointState {self.key} active={self.active} idle={len(self.idle)} picks={self.picks}>"

    def take_idle(self) -> UpstreamConnection | None:
        """A connection on which nothing is readable, or None. Others met on the way are closed."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.quiet():
                return connection
            connection.close()
        return None

    def give_back(self, connection: UpstreamConnection) -> bool:
        """Keep a connection for the next request; False when there is no room for it."""
        if self.references == 0 or len(self.idle) >= self.idle_limit:
            return False
        self.idle.append(connection)
        return True

    def answered(self, seconds: float, now: float, status: int = OK) -> None:
        """A response has begun, `seconds` after its request had ended; at layer 4 a connection was taken."""
        self.latency_s = observed(self.latency_s, now - self.latency_at, seconds)
        self.latency_at = now
        if status >= SERVER_ERROR or self.suspect:
            self.judge(status, now)

    def failed(self, now: float, *, unreachable: bool = True) -> None:
        """An attempt has failed. It counts as slow: failures are quick, and must not look attractive.

        `unreachable`: there was no connection, or it broke; otherwise what came, or did not come, was no answer.
        """
        self.failures += 1
        if self.latency_s < FAILED_S:
            self.latency_s = FAILED_S
        self.latency_at = now
        if self.outliers:
            for outlier in tuple(self.outliers):
                outlier.failed(now, unreachable=unreachable)
            self._suspect()

    def judge(self, status: int, now: float) -> None:
        """A response has begun. Needed only for 5xx, and while the endpoint is `suspect`."""
        for outlier in tuple(self.outliers):
            outlier.answered(status, now)
        self._suspect()

    def tell(self, outlier: Outlier) -> None:
        """It shall know what attempts meet here."""
        self.outliers[outlier] = None
        self.suspect = self.suspect or outlier.suspect

    def forget(self, outlier: Outlier) -> None:
        """It need not know any more."""
        self.outliers.pop(outlier, None)
        if self.suspect:
            self._suspect()

    def _suspect(self) -> None:
        self.suspect = any(outlier.suspect for outlier in self.outliers)

    def close_idle(self) -> None:
        """Close what is idle; requests in flight finish."""
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def statistics(self) -> dict[str, float | str]:
        """What /api/v1/services shows of this worker's view."""
        return {
            "endpoint": self.key,
            "active": self.active,
            "idle": len(self.idle),
            "picks": self.picks,
            "connects": self.connects,
            "failures": self.failures,
            "latency_ms": round(self.latency_s * 1000, 1),
        }
