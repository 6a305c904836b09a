"""Pem: certificates and keys in the Secrets that annotations name.

In: the decoded values of a Secret. Out: nothing but what ssl will take, or a sentence that says what is wrong. It never
quotes what is in a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ingressd.filters.base import Unusable

CA = "ca.crt"
CRL = "ca.crl"
CHAIN = "tls.crt"
KEY = "tls.key"

_certificate = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----")
_crl = re.compile(rb"-----BEGIN X509 CRL-----\r?\n[A-Za-z0-9+/=\r\n]+-----END X509 CRL-----")
_any_key = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----").search


def certificates(data: Mapping[str, bytes], key: str, secret: str, annotation: str) -> bytes:
    """The certificates under `key`, without what stands between them. Raises Unusable."""
    blocks = _certificate.findall(data[key])
    for number, block in enumerate(blocks, 1):
        try:
            x509.load_pem_x509_certificate(block)
        except (ValueError, x509.InvalidVersion):
            raise _broken(annotation, secret, f"certificate {number} of `{key}` cannot be read") from None
    if not blocks:
        raise _broken(annotation, secret, f"`{key}` has no PEM certificate")
    return b"".join(block + b"\n" for block in blocks)


def revoked(data: Mapping[str, bytes], secret: str, annotation: str) -> bytes:
    """The lists of revoked certificates; empty = there are none. Raises Unusable."""
    if CRL not in data:
        return b""
    blocks = _crl.findall(data[CRL])
    for number, block in enumerate(blocks, 1):
        try:
            x509.load_pem_x509_crl(block)
        except ValueError:
            raise _broken(annotation, secret, f"list {number} of `{CRL}` cannot be read") from None
    if not blocks:
        raise _broken(annotation, secret, f"`{CRL}` has no PEM list of revoked certificates")
    return b"".join(block + b"\n" for block in blocks)


def pair(data: Mapping[str, bytes], secret: str, annotation: str) -> tuple[bytes, bytes]:
    """A chain and its key; both empty = the Secret has none. Raises Unusable."""
    if CHAIN not in data and KEY not in data:
        return b"", b""
    for name in (CHAIN, KEY):
        if name not in data:
            raise _broken(annotation, secret, f"there is no `{name}`")
    chain, pem = certificates(data, CHAIN, secret, annotation), data[KEY]
    if not _any_key(pem):
        raise _broken(annotation, secret, f"`{KEY}` has no PEM private key")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise _broken(annotation, secret, f"`{KEY}` is encrypted: store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _broken(annotation, secret, f"`{KEY}` cannot be read as a private key") from None
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        own = x509.load_pem_x509_certificate(chain).public_key().public_bytes(encoding, form)
    except (ValueError, UnsupportedAlgorithm):
        raise _broken(annotation, secret, f"`{CHAIN}` has a key of an unknown kind") from None
    if key.public_key().public_bytes(encoding, form) != own:
        raise _broken(annotation, secret, f"`{KEY}` does not belong to `{CHAIN}`")
    return chain, pem


def _broken(annotation: str, secret: str, why: str) -> Unusable:
    return Unusable(annotation, f"the Secret {secret}: {why}")
