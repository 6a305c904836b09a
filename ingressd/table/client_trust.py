"""ClientTrust: whose client certificates a host takes, as far as a TLS handshake has to know it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

DEPTH = 1
_DIGITS = 32  # of SHA-256


@dataclass(frozen=True, slots=True)
class ClientTrust:
    """Hosts with equal ones take the same clients. What else they want of them is for their routes' filters."""

    ca_pem: bytes
    """Authorities, one PEM block behind the other."""
    crl_pem: bytes = b""
    """Lists of revoked certificates; empty = none is looked at."""
    depth: int = DEPTH
    """How many certificates may be between a client's and that of an authority."""

    @property
    def key(self) -> str:
        """What it is known by: the same in every process."""
        digest = hashlib.sha256()
        for part in (self.ca_pem, self.crl_pem, b"%d" % self.depth):
            digest.update(b"%d:%b" % (len(part), part))
        return digest.hexdigest()[:_DIGITS]
