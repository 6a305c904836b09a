"""ClientCertificate: what the certificate of a client says, in the words that nginx has for it.

In: DER that TLS has verified. Out: names as text that fits into a header line, the certificate as PEM, its
fingerprint. ClientTls is what a connection tells of one. Who never sees a certificate never imports what reads them.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from cryptography import x509


@cache
def _names() -> dict[x509.ObjectIdentifier, str]:
    """OpenSSL's short names, where RFC 4514 has none."""
    from cryptography.x509.oid import NameOID

    return {
        NameOID.BUSINESS_CATEGORY: "businessCategory",
        NameOID.DN_QUALIFIER: "dnQualifier",
        NameOID.EMAIL_ADDRESS: "emailAddress",
        NameOID.GENERATION_QUALIFIER: "generationQualifier",
        NameOID.GIVEN_NAME: "GN",
        NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
        NameOID.POSTAL_CODE: "postalCode",
        NameOID.PSEUDONYM: "pseudonym",
        NameOID.SERIAL_NUMBER: "serialNumber",
        NameOID.STREET_ADDRESS: "street",
        NameOID.SURNAME: "SN",
        NameOID.TITLE: "title",
    }


class ClientCertificate:
    """One certificate; what nobody asks for is never worked out."""

    def __init__(self, der: bytes) -> None:
        """Raises ValueError when it cannot be read: then nothing is known of who the client is."""
        from cryptography import x509  # there already: filters.auth_tls came with whoever asks for certificates

        self.der = der
        try:
            self._certificate = x509.load_der_x509_certificate(der)
            self._subject, self._issuer = self._certificate.subject, self._certificate.issuer
        except (ValueError, TypeError, x509.InvalidVersion) as problem:
            raise ValueError("the certificate cannot be read") from problem

    @cached_property
    def not_after(self) -> float:
        """Epoch seconds."""
        return self._certificate.not_valid_after_utc.timestamp()

    @cached_property
    def subject(self) -> str:
        """Its distinguished name as RFC 2253 writes it: the last part first."""
        return _written(self._subject)

    @cached_property
    def issuer(self) -> str:
        """Whose signature it has, in the same way."""
        return _written(self._issuer)

    @cached_property
    def common_names(self) -> tuple[str, ...]:
        """The CNs of the subject as they are, without any escape."""
        from cryptography.x509.oid import NameOID

        attributes = self._subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(each.value for each in attributes if isinstance(each.value, str))

    @cached_property
    def pem(self) -> str:
        """With its line breaks."""
        return ssl.DER_cert_to_PEM_cert(self.der)

    @cached_property
    def escaped_pem(self) -> str:
        """Percent-encoded, so that a header can have it."""
        return quote(self.pem, safe="")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-1 in hexadecimal digits, as nginx has it: a name for it, not a proof."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    @cached_property
    def serial(self) -> str:
        """In hexadecimal digits."""
        digits = f"{self._certificate.serial_number:X}"
        return digits if len(digits) % 2 == 0 else f"0{digits}"


def _written(name: x509.Name) -> str:
    try:
        text = name.rfc4514_string(_names())
    except ValueError:
        return ""
    # RFC 2253 section 2.4: what is no printable ASCII is written by its bytes. No line can end within it.
    return "".join(
        each if " " <= each <= "~" else "".join(f"\\{byte:02X}" for byte in each.encode("utf-8", "surrogatepass"))
        for each in text
    )


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What the TLS of a connection has made known of its client."""

    trust: str = ""
    """ClientTrust.key of those who were asked for; empty = no certificate was asked for."""
    certificate: ClientCertificate | None = None
    """Verified; None = it has shown none, or one that does not count."""
    problem: str = ""
    """Why one that was shown does not count."""


NOT_ASKED = ClientTls()
