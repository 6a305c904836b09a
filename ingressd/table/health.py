"""How endpoints are watched: HealthCheck asks them, OutlierDetection looks at what requests meet.

In: compile. Out: what the controller's checks and the workers' ejections go by. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ingressd.table.endpoint import Endpoint

INTERVAL_S = 10.0
"""HAProxy asks every 2 s, a kubelet every 10 s, a load balancer of AWS every 30 s."""
TIMEOUT_S = 2.0
RISE = 2
"""HAProxy's."""
FALL = 3
"""HAProxy's, and a kubelet's."""
STATUSES = ((200, 399),)
"""What a kubelet takes for success."""
PANIC_PERCENT = 50
"""Envoy's."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One question for each endpoint of a Service. Equal ones are asked once, whoever needs them."""

    kind: str
    """`http`, `https`, `tcp` or `tls`."""
    path: str = ""
    """Of http and https, with its query."""
    host: str = ""
    """The Host field, and the server name of TLS; empty = the endpoint's address, and no name."""
    port: int = 0
    """0 = the endpoint's own."""
    interval_s: float = INTERVAL_S
    timeout_s: float = TIMEOUT_S
    rise: int = RISE
    fall: int = FALL
    statuses: tuple[tuple[int, int], ...] = STATUSES
    """First and last of each range that is good."""
    body: str = ""
    """Must be in the first 64 KiB of the answer; empty = nothing must."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path else self.kind

    def accepts(self, status: int) -> bool:
        """Whether an answer with this status is good."""
        return any(first <= status <= last for first, last in self.statuses)


class HealthTarget(NamedTuple):
    """Whom a check asks. What is known about it is kept by this over reloads."""

    address: str
    port: int
    check: HealthCheck

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def target_of(endpoint: Endpoint, check: HealthCheck) -> HealthTarget:
    """Whom `check` asks about an endpoint."""
    return HealthTarget(endpoint.address, check.port or endpoint.port, check)


def targets_of(endpoints: Iterable[Endpoint], check: HealthCheck) -> Iterator[HealthTarget]:
    """Whom `check` asks about several."""
    return (target_of(endpoint, check) for endpoint in endpoints)


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When requests show that an endpoint is not well. A count of 0 is off; the words are Envoy's."""

    consecutive_failures: int = 0
    """Refused, failed or timed out connections, and connections that broke: nobody is there."""
    consecutive_gateway_failures: int = 0
    """Those, silence, garbage, and answers with 502, 503 or 504."""
    consecutive_5xx: int = 0
    """All of those, and every other answer from 500 on."""
    success_rate: bool = False
    """Also eject who fails much more often than the others."""
    base_ejection_s: float = 30.0
    max_ejection_s: float = 300.0
    max_ejection_percent: int = 50
    """Of a pool, rounded down, but one endpoint at least; never all of them."""

    def __bool__(self) -> bool:
        return bool(
            self.consecutive_failures or self.consecutive_gateway_failures or self.consecutive_5xx or self.success_rate
        )
