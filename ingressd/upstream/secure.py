"""Secure: TLS contexts for connections to endpoints, one for each UpstreamTls that pools want.

In: UpstreamTls. Out: an ssl.SSLContext, and the name that a connection asks for. What cannot be built trusts nobody:
an endpoint that should be verified is never spoken to without.
"""

from __future__ import annotations

import logging
import ssl
from typing import NamedTuple

from ingressd.table.upstream_tls import TLS_1_2, TLS_1_3, UpstreamTls
from ingressd.upstream.memory_file import memory_file

_log = logging.getLogger(__name__)

_CA_OF_THE_CHAIN = 2  # the endpoint's certificate and the CA's do not count as depth, as in OpenSSL
_MINIMUM = {TLS_1_2: ssl.TLSVersion.TLSv1_2, TLS_1_3: ssl.TLSVersion.TLSv1_3}


class TooDeep(ssl.SSLCertVerificationError):
    """More certificates than allowed are between the endpoint's and the CA's."""


class Secure(NamedTuple):
    """How TLS is begun with an endpoint."""

    context: ssl.SSLContext
    server_name: str
    """For SNI and verification; empty = neither."""
    longest: int
    """Certificates that a chain may have in all; 0 = it is not verified."""

    def judge(self, made: ssl.SSLObject) -> None:
        """Look at a handshake that has ended. Raises TooDeep."""
        if self.longest and chain_length(made) > self.longest:
            raise TooDeep("certificate chain too long")


def chain_length(made: ssl.SSLObject) -> int:
    """How many certificates the peer's verified chain has, both ends included; 0 = there is none, or it is resumed."""
    # Public since Python 3.13.
    chain = made._sslobj.get_verified_chain()  # type: ignore[attr-defined]
    return len(chain or ())


class SecureContexts:
    """Those of a worker."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Secure, int]] = {}
        """By UpstreamTls.key, with how many endpoints use it."""

    def __len__(self) -> int:
        return len(self._made)

    def take(self, tls: UpstreamTls, key: str) -> Secure:
        """That of `tls`, whose key is `key`, for one endpoint more."""
        secure, used = self._made.get(key) or (_secure(tls), 0)
        self._made[key] = secure, used + 1
        return secure

    def give_back(self, key: str) -> None:
        """One endpoint uses it no more."""
        secure, used = self._made.pop(key)
        if used > 1:
            self._made[key] = secure, used - 1


def _secure(tls: UpstreamTls) -> Secure:
    try:
        context = _context(tls)
    except (OSError, ValueError) as problem:  # also ssl.SSLError
        _log.error(
            "TLS to endpoints cannot be prepared: %s (none of them is trusted; mend proxy-ssl-secret)",
            getattr(problem, "reason", None) or type(problem).__name__,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it has no CA
        return Secure(context, tls.name or "nobody.invalid", 1)
    name = tls.name if tls.verify or tls.sends_sni else ""
    return Secure(context, name, tls.depth + _CA_OF_THE_CHAIN if tls.verify else 0)


def _context(tls: UpstreamTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _MINIMUM[min(tls.protocols)]
    context.maximum_version = _MINIMUM[max(tls.protocols)]
    if tls.ciphers:
        context.set_ciphers(tls.ciphers)
    if tls.verify:
        context.load_verify_locations(cadata=tls.ca_pem.decode("ascii"))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate_pem:
        with memory_file(tls.certificate_pem) as chain, memory_file(tls.key_pem) as key:
            context.load_cert_chain(chain, key, password="")
    return context
