"""Certificates that ingressd makes, judged by OpenSSL and by real handshakes."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ingressd.sources.issuer import (
    AUTHORITY_DAYS,
    LEAF_DAYS,
    Authority,
    Issued,
    canonical_host,
    is_ours,
    make_authority,
    read_authority,
    self_made,
)
from ingressd.table.certificate import Certificate

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority(NOW)


def leaf_of(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.chain_pem)


def verify(tmp_path: Path, authority: Authority, issued: Issued, *options: str) -> subprocess.CompletedProcess[str]:
    """What `openssl verify` says, at its strictest."""
    (tmp_path / "ca.crt").write_bytes(authority.pem.chain_pem)
    (tmp_path / "leaf.crt").write_bytes(issued.chain_pem)
    return subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", *options, "-CAfile", "ca.crt", "leaf.crt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def shake_hands(pair: Issued | Certificate, trusting: ssl.SSLContext, name: str, tmp_path: Path) -> None:
    """A TLS handshake over a socket pair; raises what the client raises."""
    (tmp_path / "chain").write_bytes(pair.chain_pem)
    (tmp_path / "key").write_bytes(pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with ours:
            try:
                context.wrap_socket(ours, server_side=True).close()
            except OSError:
                return  # the client has refused

    server = threading.Thread(target=serve)
    server.start()
    try:
        with theirs, trusting.wrap_socket(theirs, server_hostname=name) as connection:
            assert connection.getpeercert()
    finally:
        server.join()


def test_openssl_takes_the_chain_for_each_of_its_names_and_for_no_other(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue(["shop.localhost", "*.blog.localhost", "127.0.0.1", "::1"], NOW)
    for option in (
        ["-verify_hostname", "shop.localhost"],
        ["-verify_hostname", "cats.blog.localhost"],
        ["-verify_ip", "127.0.0.1"],
        ["-verify_ip", "::1"],
    ):
        done = verify(tmp_path, authority, issued, *option)
        assert (done.returncode, done.stdout) == (0, "leaf.crt: OK\n"), done.stderr
    assert verify(tmp_path, authority, issued, "-verify_hostname", "other.localhost").returncode != 0


def test_openssl_refuses_the_leaf_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    assert verify(tmp_path, authority, make_authority(NOW).issue(["a.example"], NOW)).returncode != 0


def test_a_client_that_trusts_the_authority_shakes_hands(authority: Authority, tmp_path: Path) -> None:
    context = ssl.create_default_context(cadata=authority.pem.chain_pem.decode())
    shake_hands(authority.issue(["localhost", "127.0.0.1"], NOW), context, "localhost", tmp_path)
    shake_hands(authority.issue(["localhost", "127.0.0.1"], NOW), context, "127.0.0.1", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority.issue(["other.localhost"], NOW), context, "localhost", tmp_path)


def test_a_leaf_is_ecdsa_for_servers_only_and_for_397_days(authority: Authority) -> None:
    issued = authority.issue(["shop.localhost", "10.0.0.1"], NOW)
    leaf = leaf_of(issued)
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=LEAF_DAYS)
    assert leaf.not_valid_before_utc < NOW
    assert leaf.not_valid_after_utc == issued.not_after
    extensions = leaf.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [
        x509.DNSName("shop.localhost"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
    ]


def test_an_authority_signs_leaves_but_no_other_authority(authority: Authority) -> None:
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    length = authority.certificate.not_valid_after_utc - authority.certificate.not_valid_before_utc
    assert length == timedelta(days=AUTHORITY_DAYS)
    assert authority.certificate.subject != make_authority(NOW).certificate.subject


def test_a_leaf_does_not_outlive_its_authority() -> None:
    authority = make_authority(NOW - timedelta(days=AUTHORITY_DAYS - 30))
    assert authority.issue(["a.example"], NOW).not_after == authority.certificate.not_valid_after_utc


def test_a_name_that_is_too_long_for_a_subject_is_in_the_alternative_names(
    authority: Authority, tmp_path: Path
) -> None:
    name = ".".join(["a" * 60, "b" * 60, "example"])
    assert verify(tmp_path, authority, authority.issue([name], NOW), "-verify_hostname", name).returncode == 0


def test_an_authority_is_the_same_after_a_round_trip(authority: Authority) -> None:
    pem = authority.pem
    again = read_authority(pem.chain_pem, pem.key_pem, NOW)
    assert again.certificate == authority.certificate
    leaf_of(again.issue(["a.example"], NOW)).verify_directly_issued_by(authority.certificate)


def _encrypted(authority: Authority) -> bytes:
    return authority.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def _ed25519() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_an_authority_that_cannot_sign_is_refused_in_words(authority: Authority) -> None:
    chain, key = authority.pem.chain_pem, authority.pem.key_pem
    leaf = authority.issue(["a.example"], NOW)
    for certificate_pem, key_pem, now, words in (
        (b"no PEM", key, NOW, "certificate is not a PEM certificate"),
        (chain, b"no PEM", NOW, "key is not a PEM private key"),
        (chain, _encrypted(authority), NOW, "key has a password"),
        (chain, _ed25519(), NOW, "neither ECDSA nor RSA"),
        (chain, make_authority(NOW).pem.key_pem, NOW, "key belongs to another certificate"),
        (leaf.chain_pem, leaf.key_pem, NOW, "not one of a CA"),
        (chain, key, NOW + timedelta(days=AUTHORITY_DAYS), "certificate has expired on 20"),
    ):
        with pytest.raises(ValueError, match=words):
            read_authority(certificate_pem, key_pem, now)


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Shop.Localhost.", "shop.localhost"),
        ("*.Blog.localhost", "*.blog.localhost"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_written_in_its_canonical_form(written: str, host: str) -> None:
    assert canonical_host(written) == host


@pytest.mark.parametrize(
    "written", ["", "a b", "a_b.example", "a..b", "a.example:443", "*", "a.*.b", "-a", "bücher.example"]
)
def test_what_is_no_host_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"must be|xn--"):
        canonical_host(written)


def test_leaves_of_any_authority_of_ours_are_known_as_ours(authority: Authority) -> None:
    assert is_ours(authority.issue(["a.example"], NOW).chain_pem)
    assert not is_ours(authority.pem.chain_pem)
    assert not is_ours(self_made(NOW).chain_pem)
    assert not is_ours(b"no PEM")


def test_the_self_made_certificate_says_what_it_is(tmp_path: Path) -> None:
    made = self_made(NOW)
    leaf = x509.load_pem_x509_certificate(made.chain_pem)
    assert "CN=ingressd self-made certificate" in leaf.subject.rfc4514_string()
    assert (made.origin, made.names) == ("self-made", ("ingress.local",))
    assert made.fingerprint == leaf.fingerprint(hashes.SHA256()).hex()
    assert made.not_after == leaf.not_valid_after_utc.timestamp()
    unwary = ssl.create_default_context(cadata=made.chain_pem.decode())
    shake_hands(made, unwary, "ingress.local", tmp_path)


def test_no_key_is_in_a_repr(authority: Authority) -> None:
    issued = authority.issue(["a.example"], NOW)
    for shown in (repr(issued), repr(self_made(NOW)), repr(authority)):
        assert "PRIVATE KEY" not in shown
        assert "PrivateKey" not in shown
