"""auth-tls-*: clients of a host must have a certificate.

In: annotations, and a Secret with authorities. Out: whose certificates TLS asks for, and a filter for every route of
the host, which looks at what the connection of a request has shown, and tells the endpoint who the client is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ingressd.errors import LocalReply, Reason
from ingressd.filters import pem
from ingressd.filters.base import Annotation, FilterSpec, Lookup, Request, Site, Unusable
from ingressd.filters.match import pattern
from ingressd.filters.proxy_ssl import secret_name
from ingressd.filters.ssl_redirect import SslRedirect
from ingressd.filters.values import boolean, choice, whole
from ingressd.filters.variables import CLIENT_CERTIFICATE, Template
from ingressd.http.path_text import encoded_location
from ingressd.table.client_trust import DEPTH, ClientTrust
from ingressd.table.route import Route

SECRET = "auth-tls-secret"  # noqa: S105 - the name of an annotation
VERIFY = "auth-tls-verify-client"
MATCH = "auth-tls-match-cn"
ON, OFF, OPTIONAL, OPTIONAL_NO_CA = "on", "off", "optional", "optional_no_ca"
_DEEPEST = 100
_CN = "CN="

FIELDS = frozenset({"ssl-client-cert", "ssl-client-issuer-dn", "ssl-client-subject-dn", "ssl-client-verify"})
"""What endpoints are told; nobody else can say it."""

_url = re.compile(r"https?://[^\s/]", re.IGNORECASE).match


@dataclass(frozen=True, slots=True)
class AuthTls:
    """Lets those pass whose connection has shown a certificate of `trust`."""

    trust: ClientTrust = field(repr=False)
    key: str
    """Of the trust."""
    required: bool = True
    passes: bool = False
    """Send the certificate to the endpoint."""
    match_cn: re.Pattern[str] | None = None
    """At the beginning of a CN."""
    error_page: Template | None = None
    redirect: SslRedirect | None = None
    """What the route does with plain HTTP."""

    asks: ClassVar[bool] = True
    """What a connection has shown is known there only."""

    def __str__(self) -> str:
        return f"auth-tls: a client certificate {'must' if self.required else 'may'} be shown"

    def on_request(self, request: Request) -> LocalReply | None:
        """400 without a certificate, 403 with a wrong one, 421 when the connection was made for another host."""
        tls = request.client_tls
        if tls is None:
            return self._plain(request)
        if tls.trust != self.key:
            text = "this connection was not made for this host, or before it was changed: make another one"
            return LocalReply(421, Reason.MISDIRECTED, text, close=True)
        certificate = tls.certificate
        if tls.problem or (certificate is None and self.required):
            return self._missing(request, f"The SSL certificate error: {tls.problem}" if tls.problem else "")
        request.remove_all(FIELDS)
        if certificate is None:
            request.set_header("ssl-client-verify", "NONE")
            return None
        if self.match_cn is not None and not any(self._matches(name) for name in certificate.common_names):
            return LocalReply(403, Reason.CLIENT_CERTIFICATE_REFUSED, "client certificate unauthorized")
        request.notes[CLIENT_CERTIFICATE] = certificate
        request.set_header("ssl-client-verify", "SUCCESS")
        request.set_header("ssl-client-subject-dn", certificate.subject)
        request.set_header("ssl-client-issuer-dn", certificate.issuer)
        if self.passes:
            request.set_header("ssl-client-cert", certificate.escaped_pem)
        return None

    def _plain(self, request: Request) -> LocalReply | None:
        """Without TLS nobody can show a certificate; whoever is sent to HTTPS can do so there."""
        reply = None if self.redirect is None else self.redirect.on_request(request)
        text = "a client certificate is needed: this is served over HTTPS only"
        return reply or LocalReply(403, Reason.CLIENT_CERTIFICATE_REQUIRED, text)

    def _missing(self, request: Request, problem: str) -> LocalReply:
        if self.error_page is not None:
            location = encoded_location(self.error_page.render(request))
            headers = ((b"Location", location.encode("ascii")),)
            return LocalReply(302, Reason.CLIENT_CERTIFICATE_REQUIRED, headers=headers)
        return LocalReply(400, Reason.CLIENT_CERTIFICATE_REQUIRED, problem or "No required SSL certificate was sent")

    def _matches(self, name: str) -> bool:
        # In Python `$` also stands before a last line break.
        return self.match_cn is not None and name.isprintable() and bool(self.match_cn.match(name))


def trust_of(route: Route | None) -> ClientTrust | None:
    """Whose certificates the requests of a route need."""
    filters = () if route is None else route.filters
    return next((each.trust for each in filters if isinstance(each, AuthTls)), None)


def _common_name(text: str) -> re.Pattern[str]:
    if not text.startswith(_CN):
        raise ValueError('a regular expression behind `CN=`, as in "CN=(alice|bob)$"')
    return pattern(text.removeprefix(_CN))


def _error_page(text: str) -> Template:
    if not _url(text) or not text.isprintable() or " " in text:
        raise ValueError('a URL with http or https, as in "https://login.example/no-certificate"')
    return Template.parse(text)


class _Spec(FilterSpec):
    name = "auth-tls"
    annotations = (
        Annotation(
            SECRET,
            secret_name,
            "the Secret with the authorities of client certificates (`ca.crt`), and lists of revoked ones (`ca.crl`)",
            "nobody is asked",
            guard=True,
            note="It holds for every route of the host, also those of other Ingresses; the oldest Ingress that has it"
            " decides. It is in the namespace of the Ingress. A Secret that cannot be used closes the host. Without TLS"
            " a request that is not redirected gets 403.",
        ),
        Annotation(
            VERIFY,
            choice(ON, OFF, OPTIONAL, OPTIONAL_NO_CA),
            "whether a client must show a certificate (`on`), may (`optional`), or is not asked (`off`)",
            ON,
            guard=True,
            note="A certificate that does not verify fails the TLS handshake, where ingress-nginx answers 400; with"
            " `optional_no_ca`, too, which is taken for `optional`.",
        ),
        Annotation(
            "auth-tls-verify-depth",
            whole(0, _DEEPEST),
            "how many certificates may be between a client's and that of an authority",
            str(DEPTH),
            guard=True,
        ),
        Annotation(
            "auth-tls-pass-certificate-to-upstream",
            boolean,
            "send the certificate to endpoints, as percent-encoded PEM in ssl-client-cert",
            "false",
        ),
        Annotation(
            MATCH,
            _common_name,
            "a regular expression that a CN of the certificate must begin with; then 403",
            guard=True,
            note="It is compared with each CN alone: one that stands in another part of the name does not count.",
        ),
        Annotation(
            "auth-tls-error-page",
            _error_page,
            "where clients without a certificate are redirected to, in place of 400",
            note="Clients whose certificate does not verify do not get there: their handshake fails.",
        ),
    )

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        if SECRET in values and values.get(VERIFY) == OPTIONAL_NO_CA:
            text = "a certificate of an unknown authority fails the handshake: it is taken for `optional`"
            yield Unusable(VERIFY, text, "add the authority to the Secret")


SPEC = _Spec()

GUARDS = frozenset(each.name for each in SPEC.annotations if each.guard)


def client_auth(values: Mapping[str, Any], lookup: Lookup) -> AuthTls | None:
    """What the annotations of one Ingress ask of the clients of its hosts. Raises Unusable."""
    verify, secret = values.get(VERIFY, ON), values.get(SECRET)
    if verify == OFF:
        return None
    if secret is None:
        for name in (VERIFY, MATCH):
            if name in values:
                raise Unusable(name, f"nobody is asked for a certificate without {SECRET}", "name a Secret in it")
        return None
    data = lookup.secret(secret, SECRET)
    if pem.CA not in data:
        raise Unusable(SECRET, f"the Secret {secret} has no `{pem.CA}`", "write the certificates of authorities there")
    trust = ClientTrust(
        ca_pem=pem.certificates(data, pem.CA, secret, SECRET),
        crl_pem=pem.revoked(data, secret, SECRET),
        depth=values.get("auth-tls-verify-depth", DEPTH),
    )
    return AuthTls(
        trust,
        trust.key,
        required=verify == ON,
        passes=values.get("auth-tls-pass-certificate-to-upstream", False),
        match_cn=values.get(MATCH),
        error_page=values.get("auth-tls-error-page"),
    )
