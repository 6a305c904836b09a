"""What a client's certificate says, compared with what OpenSSL says of it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.http.client_certificate import ClientCertificate
from ingressd.http.field_rules import valid_value

_KEY = ec.generate_private_key(ec.SECP256R1())
_NOW = datetime.now(UTC)
_SERIAL = 0x0ABCDEF


def certificate(*attributes: tuple[ObjectIdentifier, str]) -> ClientCertificate:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_KEY.public_key())
        .serial_number(_SERIAL)
        .not_valid_before(_NOW)
        .not_valid_after(_NOW + timedelta(days=1))
        .sign(_KEY, hashes.SHA256())
    )
    return ClientCertificate(made.public_bytes(Encoding.DER))


def openssl(of: ClientCertificate, *options: str) -> str:
    command = ["openssl", "x509", "-inform", "DER", "-noout", *options]
    return subprocess.run(command, input=of.der, capture_output=True, check=True).stdout.decode().removesuffix("\n")


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        (((NameOID.COMMON_NAME, "alice"),), "CN=alice"),
        (
            ((NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, "A, B + C"), (NameOID.COMMON_NAME, "x")),
            "CN=x,O=A\\, B \\+ C,C=DE",
        ),
        (((NameOID.EMAIL_ADDRESS, "a@b.test"), (NameOID.SERIAL_NUMBER, "7")), "serialNumber=7,emailAddress=a@b.test"),
        (((NameOID.COMMON_NAME, "Jürgen"),), "CN=J\\C3\\BCrgen"),
        (((NameOID.COMMON_NAME, "a\r\nX-Evil: b"),), "CN=a\\0D\\0AX-Evil: b"),
        (((NameOID.COMMON_NAME, ' "#x" '),), 'CN=\\ \\"#x\\"\\ '),
        (((NameOID.SURNAME, "S"), (NameOID.GIVEN_NAME, "G"), (NameOID.TITLE, "T")), "title=T,GN=G,SN=S"),
    ],
)
def test_a_name_is_written_as_openssl_writes_it(
    attributes: tuple[tuple[ObjectIdentifier, str], ...], written: str
) -> None:
    of = certificate(*attributes)
    assert of.subject == of.issuer == written
    assert openssl(of, "-subject", "-nameopt", "RFC2253") == f"subject={written}"


def test_fingerprint_and_serial_are_those_of_openssl() -> None:
    of = certificate((NameOID.COMMON_NAME, "x"))
    assert openssl(of, "-fingerprint", "-sha1").rpartition("=")[2].replace(":", "").lower() == of.fingerprint
    assert openssl(of, "-serial") == f"serial={of.serial}"
    assert of.escaped_pem.startswith("-----BEGIN%20CERTIFICATE-----%0A")
    assert of.not_after > _NOW.timestamp()


def test_common_names_are_those_alone_and_without_escapes() -> None:
    of = certificate((NameOID.COMMON_NAME, "a,b"), (NameOID.ORGANIZATION_NAME, "CN=c"), (NameOID.COMMON_NAME, "d"))
    assert of.common_names == ("a,b", "d")


@settings(deadline=None, max_examples=50)
@given(
    st.text(min_size=1, max_size=60).filter(
        lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text
    )
)
def test_no_name_ends_the_line_of_a_header(text: str) -> None:
    of = certificate((NameOID.COMMON_NAME, "x"), (NameOID.ORGANIZATION_NAME, text))
    assert valid_value(f"x{of.subject}x".encode("latin-1"))


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        ClientCertificate(b"\x30\x03\x02\x01\x05")
