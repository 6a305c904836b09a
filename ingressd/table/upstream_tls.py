"""UpstreamTls: how TLS is spoken to the endpoints of a pool: what we show them, and what we ask them for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields

TLS_1_2 = "TLSv1.2"
TLS_1_3 = "TLSv1.3"
VERSIONS = (TLS_1_2, TLS_1_3)
"""Older ones are not spoken (RFC 8996)."""
DEPTH = 1
_DIGITS = 16  # of SHA-256: 64 bits, among the few that one Service has


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """Equal ones share connections. The key never appears in repr, logs or the API."""

    verify: bool = False
    """Take no certificate that is not of `ca_pem` and for `name`."""
    ca_pem: bytes = b""
    certificate_pem: bytes = b""
    """The chain that we show; empty = none."""
    key_pem: bytes = field(default=b"", repr=False)
    depth: int = DEPTH
    """How many certificates may be between the endpoint's and that of the CA."""
    name: str = ""
    """Whose certificate it must be, and what SNI says; empty = the Service's name, where one is needed."""
    sends_sni: bool = False
    """Say the name in the ClientHello; it is always said where it is verified."""
    protocols: tuple[str, ...] = VERSIONS
    ciphers: str = ""
    """Of TLS 1.2, as OpenSSL writes them; empty = its own choice."""

    @property
    def key(self) -> str:
        """What it is known by: the same in every process."""
        digest = hashlib.sha256()
        for each in fields(self):
            text = repr(getattr(self, each.name)).encode()
            digest.update(b"%d:%b" % (len(text), text))
        return digest.hexdigest()[:_DIGITS]


UNVERIFIED = UpstreamTls()
"""Encryption without verification, as ingress-nginx has it by default."""
