"""Certificates of a CA that exists for the tests only, and clients that trust it."""

from __future__ import annotations

import functools
import hashlib
import ssl

import trustme

from ingressd.table.certificate import Certificate

NEVER = 4e9


@functools.cache
def authority() -> trustme.CA:
    """The CA: one for all tests, because keys take time."""
    return trustme.CA()


def issue(*names: str, origin: str = "default/secret") -> Certificate:
    """A new certificate for these names."""
    leaf = authority().issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    return Certificate(
        chain_pem=chain,
        key_pem=leaf.private_key_pem.bytes(),
        fingerprint=hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())).hexdigest(),
        names=names,
        not_after=NEVER,
        origin=origin,
    )


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the CA, and takes a certificate for any name: tests look at it themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    authority().configure_trust(context)
    return context


def names_of(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> list[str]:
    """The DNS names of the certificate that the server showed."""
    certificate = ssl_object.getpeercert()
    assert certificate is not None
    return [value for kind, value in certificate["subjectAltName"] if kind == "DNS"]
