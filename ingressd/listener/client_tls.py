"""TrustingContext: a server's TLS that asks clients for certificates; and what a handshake has made known of a client.

In: a ClientTrust, and handshakes that ended. Out: ClientTls. A client without a certificate may come in, so that it can
be told over HTTP what is missing; one whose certificate does not verify may not, as Python's ssl has it.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from typing import Self

from ingressd.http.client_certificate import NOT_ASKED, ClientCertificate, ClientTls
from ingressd.listener.alerts import AlertingContext
from ingressd.memo import remember
from ingressd.table.client_trust import ClientTrust
from ingressd.upstream.memory_file import memory_file
from ingressd.upstream.secure import chain_length

_REMEMBERED = 4096
_ENDS = 2  # the client's certificate and the authority's do not count as depth, as in OpenSSL


class TrustingContext(AlertingContext):
    """No session of TLS 1.3 is resumed: each connection shows its certificate anew."""

    key: str
    """ClientTrust.key."""
    longest: int
    """Certificates that a chain may have."""
    lengths: dict[bytes, int]
    """By digest of the client's certificate, of those that have come with a whole handshake."""

    @classmethod
    def of(cls, trust: ClientTrust) -> Self:
        """One without a certificate of its own. Raises OSError (ssl.SSLError is one) or ValueError."""
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context.key, context.longest, context.lengths = trust.key, trust.depth + _ENDS, {}
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0
        # Not `cadata`: that takes no lists of revoked certificates.
        with memory_file(trust.ca_pem + trust.crl_pem) as authorities:
            context.load_verify_locations(authorities)
        if trust.crl_pem:
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
        return context

    def judge(self, made: ssl.SSLObject) -> ClientTls:
        """Who the client is, by a handshake that has ended."""
        der = made.getpeercert(binary_form=True)
        if not der:
            return ClientTls(self.key)
        try:
            certificate = ClientCertificate(der)
        except ValueError as problem:
            return ClientTls(self.key, problem=str(problem))
        length = self._length(der, chain_length(made))
        if not length:
            return ClientTls(self.key, problem="the certificate of a session that is forgotten")
        if length > self.longest:
            return ClientTls(self.key, problem="certificate chain too long")
        if certificate.not_after < time.time():
            return ClientTls(self.key, problem="certificate has expired")
        return ClientTls(self.key, certificate)

    def _length(self, der: bytes, verified: int) -> int:
        """That of the chain. A session of TLS 1.2 can be resumed, and tells of none: then it is what it was before."""
        name = hashlib.sha256(der).digest()
        if not verified:
            return self.lengths.get(name, 0)
        return remember(self.lengths, name, verified, _REMEMBERED)


def client_tls_of(made: ssl.SSLObject | None) -> ClientTls | None:
    """What a connection's TLS tells of its client; None = it has no TLS."""
    if made is None:
        return None
    context = made.context
    return context.judge(made) if isinstance(context, TrustingContext) else NOT_ASKED
