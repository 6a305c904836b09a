"""What an operator decides before start: ports, limits, switches.

In: the command line, INGRESSD_* variables and a settings file, merged by cli/. Out: one frozen value
that every process gets. Standard library only, because the supervisor imports it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

OUTLIER_DETECTION = "consecutive-failures=5"
"""Ejected is only who is not there (docs/decisions/0016)."""

OFF = -1
"""A port that is switched off; 0 means any free port."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds against hostile or broken peers (docs/limits.md has each with its precedent)."""

    request_line_bytes: int = 16 * 1024
    header_line_bytes: int = 16 * 1024
    request_head_bytes: int = 60 * 1024
    request_fields: int = 100
    request_head_s: float = 10.0
    tls_handshake_s: float = 10.0
    keepalive_idle_s: float = 75.0
    keepalive_requests: int = 10_000
    request_body_bytes: int = 0
    """0 = no bound."""
    request_body_gap_s: float = 60.0
    response_write_gap_s: float = 60.0
    body_rate_bytes_s: int = 240
    body_rate_grace_s: float = 10.0
    connect_s: float = 5.0
    read_gap_s: float = 60.0
    send_gap_s: float = 60.0
    response_head_bytes: int = 64 * 1024
    response_fields: int = 200
    interim_responses: int = 10
    chunk_extension_bytes: int = 4 * 1024
    trailer_bytes: int = 8 * 1024
    trailer_fields: int = 50
    buffer_high_bytes: int = 64 * 1024
    buffer_low_bytes: int = 16 * 1024
    connections: int = 20_000
    connections_per_client: int = 0
    """0 = no bound."""
    pipelined_requests: int = 16
    memory_percent: int = 95
    """Of the container's limit, or of the host; 0 = no bound."""
    loop_lag_s: float = 0.5
    """0 = no bound."""
    discarded_body_bytes: int = 64 * 1024
    pending_requests: int = 1_024
    """Requests of one pool that wait for a connection to be made, in one worker."""
    retry_percent: int = 20
    """Second attempts at one time, of the requests in flight to a pool."""
    retries_least: int = 3
    """Second attempts at one time that a pool may always have."""
    upstream_idle_s: float = 60.0
    upstream_idle_connections: int = 256
    """Idle connections kept per endpoint and worker (nginx keepalive 320, Envoy unbounded)."""
    udp_flows: int = 4_096
    """Flows of datagrams of one Service port and worker; the one that was silent longest makes room."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `ingressd run` can be told. Ports: 0 any free port, OFF switched off. Times in seconds."""

    paths: tuple[str, ...] = ()
    http_port: int = 8080
    https_port: int = 8443
    admin_port: int = 9080
    bind: str = "0.0.0.0"  # noqa: S104 - an edge proxy listens on every address unless told otherwise
    admin_bind: str = "127.0.0.1"
    admin_public: bool = False
    """The admin port may listen where others reach it, without a token."""
    admin_token_file: str = ""
    admin_token: str = field(default="", repr=False)
    """From a variable, never from a flag: flags are shown by ps."""
    admin_certificate: tuple[str, str] | None = None
    """(certificate file, key file) of the admin port; None = it speaks plain HTTP."""
    workers: int = 0
    """0 = one a CPU."""
    ingress_class: str = "ingressd"
    nginx_class: bool = True
    """Also serve Ingresses of the class `nginx`."""
    classless: bool = True
    """Also serve Ingresses that name no class."""
    annotations_prefix: str = ""
    """A further prefix of annotations, without its slash, that means what `ingressd.dev` means."""
    regex_scope: str = "ingress"
    """Of which paths one Ingress makes regular expressions: its own, or with `host` all of its hosts."""
    allowed_response_headers: tuple[str, ...] = ()
    """Fields that custom-headers may set."""
    plugins: tuple[str, ...] = ()
    """Python files with filters that Ingresses may name."""
    limit_status: int = 503
    """Status above a limit-rps and its kin: 503 as in ingress-nginx, or 429."""
    redirect_status: int = 308
    """Status of redirects to HTTPS and between a host and its www host: 301, 302, 303, 307 or 308."""
    ssl_passthrough: bool = False
    """Honour ssl-passthrough: pass connections on by the host in their ClientHello, without ending their TLS."""
    default_backend: str = ""
    """NAMESPACE/SERVICE:PORT that takes what no rule takes; empty = 404."""
    drain_timeout_s: float = 25.0
    proxy_mode: str = "ipvs"
    """kube-proxy's: `nftables` and `iptables` pick at random, `ipvs` by the scheduler."""
    scheduler: str = "auto"
    """A name of balancing/registry.py; `auto` = as proxy_mode says."""
    trusted_proxies: tuple[str, ...] = ()
    """CIDRs whose X-Forwarded-* and Forwarded fields are believed."""
    proxy_protocol: str = "off"
    """`on`: connections from trusted_proxies must begin with a PROXY header, which says who the client is."""
    forwarded_header: bool = True
    """Send the RFC 7239 Forwarded field to backends."""
    https_redirect_port: int = 0
    """Port named in redirects to HTTPS; 0 = the port that ingressd itself listens on."""
    certificates: tuple[tuple[str, str], ...] = ()
    """(certificate file, key file) pairs, used beside the Secrets."""
    default_certificate: tuple[str, str] | None = None
    outlier_detection: str = OUTLIER_DETECTION
    """When a worker ejects endpoints of a Service that does not say it, as ingressd.dev/outlier-detection; or `off`."""
    discovery: str = "dns"
    """Provider that is asked for Services whose endpoints are not in the files; `off` = none."""
    external_name_allow: tuple[str, ...] = ()
    """CIDRs of loopback (for an ExternalName), link-local and metadata addresses that Services may reach."""
    dns_servers: tuple[str, ...] = ()
    """HOST:PORT of name servers for discovery; empty = /etc/resolv.conf."""
    dns_port: int = OFF
    """Where the names of Services are told, over UDP and TCP."""
    dns_bind: str = "127.0.0.1"
    cluster_domain: str = "cluster.local"
    """What the names of Services end with."""
    dns_upstream: tuple[str, ...] = ()
    """ADDRESS:PORT of name servers for other names; empty = they are refused."""
    zone: str = ""
    """Topology zone of this machine: endpoints of the same one may be preferred; empty = none are."""
    access_log: str = "-"
    """`-` standard output, `off`, or a file."""
    access_log_format: str = "json"
    """`json` or `nginx` (ingress-nginx's default format)."""
    log_level: str = "info"
    log_format: str = "auto"
    """`json`, `text`, or `auto`: text on a terminal, JSON elsewhere."""
    strict: bool = False
    poll_interval_s: float = 2.0
    watch_events: bool = True
    user: str = ""
    """NAME[:GROUP] that all processes become once the sockets are open; empty = who started the program."""
    pid_file: str = ""
    """Holds the supervisor's process id while it runs; empty = none."""
    state_dir: str = ""
    """Folder of the last good snapshot, private keys included; empty = it is not kept."""
    upgrade_timeout_s: float = 60.0
    """By when a new version must be ready."""
    hang_timeout_s: float = 30.0
    """A worker or controller that does not answer for so long is killed and started again; 0 = never."""
    node_ports: bool = True
    """Open the nodePort of each NodePort Service, and port and nodePort of each LoadBalancer Service."""
    node_port_bind: str = ""
    """Address for those ports; empty = that of HTTP."""
    external_ips: bool = True
    """Open the externalIPs of Services that are loopback addresses."""
    cluster_ips: bool = False
    """Open a virtual address of its own for each Service."""
    cluster_cidr: str = "127.96.0.0/16"
    """Network of those addresses; every address of 127.0.0.0/8 is this machine's."""
    stream_idle_s: float = 3600.0
    """How long a TCP connection to a Service may be silent both ways; 0 = for ever."""
    udp_idle_s: float = 180.0
    """How long a flow of datagrams that was answered may be silent."""
    limits: Limits = field(default_factory=Limits)

    @property
    def stream_address(self) -> str:
        """Where the ports of Services are opened."""
        return self.node_port_bind or self.bind

    @property
    def default_scheduler(self) -> str:
        """Picks for Services that name none (docs/decisions/0014)."""
        if self.scheduler != "auto":
            return self.scheduler
        return "rr" if self.proxy_mode == "ipvs" else "random"

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what `to_json` wrote, also that of an earlier version. Raises TypeError on an unknown key."""
        raw: dict[str, Any] = json.loads(text)
        raw["limits"] = Limits(**raw["limits"])
        for name, value in raw.items():
            if isinstance(value, list):
                raw[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
        return cls(**raw)
