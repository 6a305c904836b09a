"""Pool: the endpoints of one Service port, and how to reach them."""

from __future__ import annotations

from dataclasses import dataclass

from ingressd.table.breaker import BreakerLimits
from ingressd.table.endpoint import Endpoint
from ingressd.table.health import PANIC_PERCENT, HealthCheck, OutlierDetection
from ingressd.table.upstream_tls import UpstreamTls


@dataclass(frozen=True, slots=True)
class Pool:
    """One Service port as the data plane sees it. Times in seconds."""

    id: str
    """`NAMESPACE/SERVICE:PORT`, PORT as written in the Ingress (number or name)."""
    namespace: str
    service: str
    port: str
    endpoints: tuple[Endpoint, ...] = ()
    problem: str = ""
    """Why there are no endpoints, in words for the operator: shown by explain and the API."""
    scheduler: str = "rr"
    affinity_s: int = 0
    """How long a client that is away keeps its endpoint (sessionAffinity: ClientIP); 0 = the scheduler picks."""
    tls: UpstreamTls | None = None
    """How TLS is spoken to the endpoints; None = it is not."""
    connect_s: float = 5.0
    check: HealthCheck | None = None
    """What the controller asks its endpoints."""
    outliers: OutlierDetection | None = None
    """When a worker leaves an endpoint out for a while; None = never."""
    slow_start_s: float = 0.0
    """How long an endpoint that comes, or comes back, gets less than its share; 0 = it gets all of it at once."""
    breaker: BreakerLimits | None = None
    """What its endpoints get at once; None = no bound."""
    panic_percent: int = PANIC_PERCENT
    """When fewer of its endpoints are healthy, all are used; 0 = an unhealthy one never is."""
