"""StreamListener: one port that a Service opens for connections or datagrams that are passed on as they are."""

from __future__ import annotations

from dataclasses import dataclass

TCP = "TCP"
UDP = "UDP"

NODE_PORT = "nodePort"
LOAD_BALANCER = "loadBalancer"
CLUSTER_IP = "clusterIP"
EXTERNAL_IP = "externalIP"
SSL_PASSTHROUGH = "sslPassthrough"
"""Not a port of its own: the connections of one host to the HTTPS port."""


@dataclass(frozen=True, slots=True)
class StreamListener:
    """One address and port at layer 4. Times in seconds."""

    protocol: str
    """TCP or UDP."""
    address: str
    """IPv4 or IPv6 without brackets; 0.0.0.0 and :: are every address."""
    port: int
    pool: str
    """Id of the Pool that takes what comes."""
    namespace: str
    service: str
    service_port: str
    """The Service's port by name, or by number when it has no name."""
    role: str
    """What in the Service asks for it: NODE_PORT, LOAD_BALANCER, CLUSTER_IP or EXTERNAL_IP; SSL_PASSTHROUGH."""
    proxy_protocol: bool = False
    """Begin each connection to an endpoint with a PROXY protocol v2 header."""
    connect_s: float = 5.0
    idle_s: float = 3600.0
    """How long a connection may be silent both ways; 0 = for ever."""
    udp_idle_s: float = 180.0
    """How long a flow of datagrams that was answered may be silent."""
    sources: tuple[str, ...] = ()
    """The networks whose clients it is for; empty = for everybody."""

    @property
    def place(self) -> str:
        """`127.0.0.1:30080` or `[::1]:30080`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def key(self) -> str:
        """`tcp://127.0.0.1:30080`: what it is known by in a snapshot. No two listeners share it."""
        return f"{self.protocol.lower()}://{self.place}"
