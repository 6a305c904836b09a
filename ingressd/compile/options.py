"""What the operator decided, as far as compile needs to know it; with the moment that counts as now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ingressd.settings import Limits, Settings
from ingressd.table.certificate import Certificate


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
    discovery: str = "dns"
    external_name_allow: tuple[str, ...] = ()
    https_port: int | None = None
    """Where we listen for HTTPS; None = nowhere."""
    https_redirect_port: int = 0
    """0 = https_port."""
    limits: Limits = field(default_factory=Limits)
    certificates: Certificates = field(default_factory=Certificates)

    @classmethod
    def from_settings(
        cls, settings: Settings, https_port: int | None, now: datetime, certificates: Certificates
    ) -> CompileOptions:
        """The options of a running program, or of a command that compiles once."""
        return cls(
            now=now,
            ingress_class=settings.ingress_class,
            nginx_class=settings.nginx_class,
            classless=settings.classless,
            default_backend=settings.default_backend,
            scheduler=settings.default_scheduler,
            discovery=settings.discovery,
            external_name_allow=settings.external_name_allow,
            https_port=https_port,
            https_redirect_port=settings.https_redirect_port,
            limits=settings.limits,
            certificates=certificates,
        )
