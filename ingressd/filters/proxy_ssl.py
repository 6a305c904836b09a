"""proxy-ssl-*: how TLS is spoken to the endpoints of a route.

In: annotations, and the Secret that they name. Out: the TLS of a variant of the route's pool. An endpoint that should
be verified and cannot be closes the route.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ingressd.filters import pem
from ingressd.filters.base import Annotation, FilterSpec, Lookup, Site, Unusable
from ingressd.filters.values import whole
from ingressd.filters.variables import Template
from ingressd.table.pool_variant import PoolVariant
from ingressd.table.upstream_tls import DEPTH, VERSIONS, UpstreamTls

SECRET = "proxy-ssl-secret"  # noqa: S105 - the name of an annotation
VERIFY = "proxy-ssl-verify"
PROTOCOLS = "proxy-ssl-protocols"
_OLD = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")
_DEEPEST = 100
_HOST_LETTERS = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_is_host = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}").fullmatch


def switch(text: str) -> bool:
    """As nginx writes one. Raises ValueError."""
    if text in ("on", "off"):
        return text == "on"
    raise ValueError('"on" or "off"')


def secret_name(text: str) -> str:
    """The name of a Secret. Raises ValueError."""
    if text.strip():
        return text.strip()
    raise ValueError('the name of a Secret, as in "default/ca"')


def _name(text: str) -> str:
    host = text.strip().lower().removesuffix(".")
    if len(host) <= _HOST_LETTERS and _is_host(host):
        return host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError('a host, as in "app.example.com"') from None


def _protocols(text: str) -> tuple[str, ...]:
    words = tuple(text.split())
    if not words or any(word not in (*_OLD, *VERSIONS) for word in words):
        raise ValueError(f'versions with blanks between them, as in "{" ".join(VERSIONS)}"')
    if not any(word in VERSIONS for word in words):
        raise ValueError(f"a list with {' or '.join(VERSIONS)}: older versions are not spoken")
    return words


def _ciphers(text: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(text)
    except (ssl.SSLError, ValueError, UnicodeEncodeError):
        raise ValueError('ciphers as OpenSSL writes them, as in "ECDHE+AESGCM:ECDHE+CHACHA20"') from None
    return text


class _Spec(FilterSpec):
    name = "proxy-ssl"
    annotations = (
        Annotation(
            SECRET,
            secret_name,
            "the Secret with the certificate that endpoints are shown (`tls.crt`, `tls.key`) and the CA of theirs"
            " (`ca.crt`); one of the two is enough",
            guard=True,
            note="It is in the namespace of the Ingress. A Secret that cannot be used closes the route.",
        ),
        Annotation(
            VERIFY,
            switch,
            "take no certificate of an endpoint that is not of the CA and for proxy-ssl-name; then 502",
            "off",
            guard=True,
            note="Without a CA the route is closed; ingress-nginx leaves the endpoints unverified.",
        ),
        Annotation(
            "proxy-ssl-verify-depth",
            whole(0, _DEEPEST),
            "how many certificates may be between an endpoint's and that of the CA",
            str(DEPTH),
            guard=True,
        ),
        Annotation(
            "proxy-ssl-name",
            _name,
            "whose certificate endpoints must have",
            "upstream-vhost if it has no variables, else the name of the Service",
            guard=True,
        ),
        Annotation(
            "proxy-ssl-server-name",
            switch,
            "say this name in the ClientHello (SNI)",
            "off",
            note="Where the name is verified it is said in any case.",
        ),
        Annotation(
            PROTOCOLS,
            _protocols,
            "the versions of TLS that are spoken to endpoints",
            " ".join(VERSIONS),
            guard=True,
            note="Versions before TLSv1.2 may be listed and are not spoken (RFC 8996).",
        ),
        Annotation(
            "proxy-ssl-ciphers",
            _ciphers,
            "the ciphers of TLS 1.2, as OpenSSL writes them",
            "those of OpenSSL's security level 2",
            guard=True,
        ),
    )

    def vary(self, values: Mapping[str, Any], lookup: Lookup, variant: PoolVariant) -> PoolVariant:
        secret, verify = values.get(SECRET), values.get(VERIFY, False)
        ca = chain = key = b""
        if secret is not None:
            data = lookup.secret(secret, SECRET)
            chain, key = pem.pair(data, secret, SECRET)
            ca = pem.certificates(data, pem.CA, secret, SECRET) if pem.CA in data else b""
            if not ca and not chain:
                hint = f"write a chain and its key under `{pem.CHAIN}` and `{pem.KEY}`, or a CA under `{pem.CA}`"
                raise Unusable(SECRET, f"the Secret {secret} has neither a certificate nor a CA", hint)
        if verify and not ca:
            hint = f"name a Secret with the CA under `{pem.CA}` in {SECRET}"
            raise Unusable(VERIFY, "there is no CA to verify the certificates of endpoints with", hint)
        tls = UpstreamTls(
            verify=verify,
            ca_pem=ca if verify else b"",
            certificate_pem=chain,
            key_pem=key,
            depth=values.get("proxy-ssl-verify-depth", DEPTH) if verify else DEPTH,
            name=values.get("proxy-ssl-name") or _vhost(values.get("upstream-vhost")),
            sends_sni=values.get("proxy-ssl-server-name", False),
            protocols=tuple(version for version in VERSIONS if version in values.get(PROTOCOLS, VERSIONS)),
            ciphers=values.get("proxy-ssl-ciphers", ""),
        )
        return replace(variant, tls=tls)

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        old = [word for word in values.get(PROTOCOLS, ()) if word in _OLD]
        if old:
            yield Unusable(PROTOCOLS, f"{', '.join(old)} is not spoken to endpoints", "nothing else has to be done")
        if values.get("backend-protocol") == "HTTP":
            first = next(name for name in (each.name for each in self.annotations) if name in values)
            yield Unusable(first, "it has no effect, because backend-protocol is HTTP", "set backend-protocol: HTTPS")


def _vhost(template: Template | None) -> str:
    if template is None or not template.fixed:
        return ""
    try:
        return _name(template.text.partition(":")[0])
    except ValueError:
        return ""


SPEC = _Spec()
