"""What the operator decided, as far as compile needs to know it; with the moment that counts as now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ingressd.compile.health import detection_of
from ingressd.settings import OFF, OUTLIER_DETECTION, Limits, Settings
from ingressd.table.certificate import Certificate
from ingressd.table.health import OutlierDetection


@dataclass(frozen=True, slots=True)
class PemPair:
    """A certificate and its key as the operator gave them, read by someone who may."""

    chain_file: str
    key_file: str
    chain_pem: bytes = b""
    key_pem: bytes = field(default=b"", repr=False)
    problem: str = ""
    """Why they could not be read, in words; the two above are empty then."""
    key_mode: int = 0
    """The mode of a key file of ours that other users can read; 0 = they cannot."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Certificates that do not come from Secrets."""

    pairs: tuple[PemPair, ...] = ()
    """Of --certificate."""
    default: PemPair | None = None
    """Of --default-certificate."""
    self_made: Certificate | None = None
    """For names that nothing else covers; None = their handshakes fail."""


class OwnPort(NamedTuple):
    """A port that the program itself listens on, for TCP."""

    flag: str
    """Where the operator chose it."""
    address: str
    port: int
    udp: bool = False
    """For UDP, too."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What Services may open at layer 4: see the fields of Settings with the same names."""

    node_ports: bool = True
    address: str = "0.0.0.0"  # noqa: S104 - as the ports of HTTP
    """Where node ports and load balancers' ports are opened."""
    external_ips: bool = True
    cluster_ips: bool = False
    cluster_cidr: str = "127.96.0.0/16"
    own: tuple[OwnPort, ...] = ()
    """They win over whatever a Service wants."""
    idle_s: float = 3600.0
    udp_idle_s: float = 180.0
    most_cluster_listeners: int = 0
    """How many a worker has descriptors for; 0 = no bound."""
    machine: frozenset[str] = frozenset()
    """Addresses of this machine beside those of 127.0.0.0/8 and ::1, as far as they are known."""
    held: frozenset[str] = frozenset()
    """Keys of listeners whose port another program has."""

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        most_cluster_listeners: int,
        machine: frozenset[str] = frozenset(),
        held: frozenset[str] = frozenset(),
    ) -> StreamOptions:
        """Of a running program, with the ports that were really opened, or of a command that compiles once."""
        ports = (
            OwnPort("--http-port", settings.bind, settings.http_port),
            OwnPort("--https-port", settings.bind, settings.https_port),
            OwnPort("--admin-port", settings.admin_bind, settings.admin_port),
            OwnPort("--dns-port", settings.dns_bind, settings.dns_port, udp=True),
        )
        return cls(
            node_ports=settings.node_ports,
            address=settings.stream_address,
            external_ips=settings.external_ips,
            cluster_ips=settings.cluster_ips,
            cluster_cidr=settings.cluster_cidr,
            own=tuple(own for own in ports if own.port not in (0, OFF)),
            idle_s=settings.stream_idle_s,
            udp_idle_s=settings.udp_idle_s,
            most_cluster_listeners=most_cluster_listeners,
            machine=machine,
            held=held,
        )


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """See the fields of Settings with the same names."""

    now: datetime
    """Aware. Certificates expire by it."""
    ingress_class: str = "ingressd"
    nginx_class: bool = True
    classless: bool = True
    default_backend: str = ""
    scheduler: str = "rr"
    outliers: OutlierDetection | None = field(default_factory=lambda: detection_of(OUTLIER_DETECTION))
    """Of Services that say nothing about it."""
    discovery: str = "dns"
    external_name_allow: tuple[str, ...] = ()
    zone: str = ""
    annotations_prefix: str = ""
    limit_status: int = 503
    redirect_status: int = 308
    ssl_passthrough: bool = False
    allowed_response_headers: tuple[str, ...] = ()
    regex_scope: str = "ingress"
    https_port: int | None = None
    """Where we listen for HTTPS; None = nowhere."""
    https_redirect_port: int = 0
    """0 = https_port."""
    limits: Limits = field(default_factory=Limits)
    certificates: Certificates = field(default_factory=Certificates)
    streams: StreamOptions = field(default_factory=StreamOptions)
    cluster_domain: str = "cluster.local"

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        https_port: int | None,
        now: datetime,
        certificates: Certificates,
        *,
        most_cluster_listeners: int = 0,
        machine: frozenset[str] = frozenset(),
        held: frozenset[str] = frozenset(),
    ) -> CompileOptions:
        """The options of a running program, or of a command that compiles once."""
        return cls(
            now=now,
            ingress_class=settings.ingress_class,
            nginx_class=settings.nginx_class,
            classless=settings.classless,
            default_backend=settings.default_backend,
            scheduler=settings.default_scheduler,
            outliers=detection_of(settings.outlier_detection),
            discovery=settings.discovery,
            external_name_allow=settings.external_name_allow,
            zone=settings.zone,
            annotations_prefix=settings.annotations_prefix,
            limit_status=settings.limit_status,
            redirect_status=settings.redirect_status,
            ssl_passthrough=settings.ssl_passthrough,
            allowed_response_headers=settings.allowed_response_headers,
            regex_scope=settings.regex_scope,
            https_port=https_port,
            https_redirect_port=settings.https_redirect_port,
            limits=settings.limits,
            certificates=certificates,
            streams=StreamOptions.from_settings(settings, most_cluster_listeners, machine, held),
            cluster_domain=settings.cluster_domain,
        )
