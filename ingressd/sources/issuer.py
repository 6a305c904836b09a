"""Issuer: makes certificates: a development CA, the leaves it signs, and the self-made one that is served by default.

In: host names and the present moment. Out: PEM, keys ECDSA P-256. It reads and writes no file: that is
certificate_files.py.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ingressd.model import names
from ingressd.table.certificate import Certificate

AUTHORITY_DAYS = 3650
LEAF_DAYS = 397
"""Browsers have refused longer ones since 2020 (398 days)."""
MARK = "ingressd development certificate"
"""Organisation of every leaf made here: what may be written over."""
SELF_MADE = "ingressd self-made certificate"
SELF_MADE_NAME = "ingress.local"

_BACKDATED = timedelta(minutes=5)
"""For clients whose clock is behind."""
_COMMON_NAME_CHARACTERS = 64
"""RFC 5280 ub-common-name."""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key as PEM."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: Key = field(repr=False)

    @property
    def pem(self) -> Issued:
        """What is written to disk."""
        return _issued(self.certificate, self.key)

    def issue(self, hosts: Sequence[str], now: datetime) -> Issued:
        """One leaf for all `hosts`: canonical names of `canonical_host`. It never outlives the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        ours = self.certificate.extensions
        builder = (
            _builder(_leaf_subject(hosts[0]), key, now, LEAF_DAYS, latest=self.certificate.not_valid_after_utc)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
            .add_extension(_identifier(ours), critical=False)
        )
        return _issued(_as_server(builder).sign(self.key, hashes.SHA256()), key)


def make_authority(now: datetime) -> Authority:
    """A new CA. Its name ends with a few random digits: a trust store may hold several."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ingressd development CA"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"ingressd development CA {secrets.token_hex(3)}"),
        ]
    )
    builder = (
        _builder(name, key, now, AUTHORITY_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def read_authority(certificate_pem: bytes, key_pem: bytes, now: datetime) -> Authority:
    """A CA made earlier, or by somebody else. Raises ValueError, whose text continues `the CA ...`."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise ValueError("certificate is not a PEM certificate") from None
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise ValueError("key has a password, and there is nobody to ask for it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("key is not a PEM private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("key is neither ECDSA nor RSA")
    if key.public_key() != certificate.public_key():
        raise ValueError("key belongs to another certificate")
    if not _may_sign(certificate):
        raise ValueError("certificate is not one of a CA")
    if certificate.not_valid_after_utc <= now:
        raise ValueError(f"certificate has expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return Authority(certificate, key)


def canonical_host(text: str) -> str:
    """A host as it stands in a certificate: a DNS name, `*.` and one, or an address. Raises ValueError."""
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII: write it in its xn-- form")
    host = text.strip().lower().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if names.is_address(host):
        return str(ipaddress.ip_address(host))
    if rule := names.host(host):
        raise ValueError(f"{text!r} must be {rule}")
    return host


def is_ours(certificate_pem: bytes) -> bool:
    """Whether it is a leaf that some `Authority` of ours made."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return False
    found = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return [attribute.value for attribute in found] == [MARK]


def self_made(now: datetime) -> Certificate:
    """For names that no other certificate covers. Nobody trusts it, and its name says why it is there."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ingressd"),
            x509.NameAttribute(NameOID.COMMON_NAME, SELF_MADE),
        ]
    )
    builder = (
        _builder(name, key, now, LEAF_DAYS)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SELF_MADE_NAME)]), critical=False)
    )
    certificate = _as_server(builder).sign(key, hashes.SHA256())
    made = _issued(certificate, key)
    return Certificate(
        chain_pem=made.chain_pem,
        key_pem=made.key_pem,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        names=(SELF_MADE_NAME,),
        not_after=made.not_after.timestamp(),
        origin="self-made",
        not_before=certificate.not_valid_before_utc.timestamp(),
    )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int, latest: datetime | None = None
) -> x509.CertificateBuilder:
    begin = now - _BACKDATED
    end = begin + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end if latest is None else min(end, latest))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _as_server(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _leaf_subject(host: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, MARK)]
    if len(host) <= _COMMON_NAME_CHARACTERS:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, host))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(host)) if names.is_address(host) else x509.DNSName(host)


def _identifier(issuer: x509.Extensions) -> x509.AuthorityKeyIdentifier:
    own = issuer.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        extensions = certificate.extensions
        extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except (x509.ExtensionNotFound, ValueError):
        return False


def _issued(certificate: x509.Certificate, key: Key) -> Issued:
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.not_valid_after_utc,
    )
