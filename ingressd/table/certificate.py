"""Certificate: a chain and its key, ready for an ssl.SSLContext."""

from __future__ import annotations

from dataclasses import dataclass, field

SELF_MADE = "self-made"
"""Origin of the certificate that is made here when there is no other."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM chain and key. The key never appears in repr, logs or the API."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    fingerprint: str
    """SHA-256 of the leaf, hex: identifies it in the API and as the cache key of TLS contexts."""
    names: tuple[str, ...]
    """DNS names of the leaf's subjectAltName."""
    not_after: float
    """Epoch seconds."""
    origin: str
    """`NAMESPACE/SECRET`, a file name, or SELF_MADE."""
    not_before: float = 0.0
    """Epoch seconds."""
