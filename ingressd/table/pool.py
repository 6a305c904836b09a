"""Pool: the endpoints of one Service port, and how to reach them."""

from __future__ import annotations

from dataclasses import dataclass

from ingressd.table.endpoint import Endpoint


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
    tls: bool = False
    """Speak TLS to the endpoints (appProtocol https)."""
    connect_s: float = 5.0
    read_gap_s: float = 60.0
    send_gap_s: float = 60.0
    tries: int = 2
