"""Authorities of their own for one test each, what they sign, and Secrets with it."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key


def chain_of(leaf: trustme.LeafCert) -> bytes:
    """The certificate, and those between it and its authority."""
    return b"".join(pem.bytes() for pem in leaf.cert_chain_pems)


def secret_yaml(name: str, data: Mapping[str, bytes]) -> str:
    """A Secret as a document of a file."""
    lines = "".join(f"  {key}: {base64.b64encode(value).decode()}\n" for key, value in data.items())
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata:\n{lines or '  {}'}---\n"


def server_context(leaf: trustme.LeafCert, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's context; `clients`: whose certificates its clients must have."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    return context


def revoke(authority: trustme.CA, leaf: trustme.LeafCert) -> bytes:
    """The authority's list of revoked certificates, with this one on it."""
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    now = datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now).build()
    own = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(own.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(entry)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
        .public_bytes(Encoding.PEM)
    )
