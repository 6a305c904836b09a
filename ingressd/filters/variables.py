"""nginx's variables in values of annotations: `$scheme://$host$request_uri`.

In: the value, when a route is compiled. Out: a Template, which a request fills in. A name that is no variable is
found at once, and not when a request comes. No value can hold a line break: all come from a head that was read.
"""

from __future__ import annotations

import re
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

from ingressd.filters.base import Request
from ingressd.http.client_certificate import ClientCertificate

CLIENT_CERTIFICATE = "ingressd.filters.auth_tls"
"""Key in a request's notes: the certificate of its client, once the route has let it pass."""

_reference = re.compile(r"\$(?:\{([A-Za-z0-9_]*)\}|([A-Za-z0-9_]+))?")
_reference_or_capture = re.compile(r"\$(?:\{([A-Za-z0-9_]*)\}|([1-9]|[A-Za-z0-9_]+))?")
"""As nginx does, `$10` is what the first pair of parentheses matched, and a zero."""


class Variable(NamedTuple):
    """One variable."""

    name: str

    def of(self, request: Request, captures: Sequence[str | None]) -> str:
        """Its value; empty when there is none, as in nginx."""
        name = self.name
        known = _VARIABLES.get(name)
        if known is not None:
            return known(request)
        family, _, own = name.partition("_")
        return _FAMILIES[family](request, own)


class Capture(NamedTuple):
    """What one of the parts of a path in parentheses matched."""

    number: int
    """From 1."""

    def of(self, request: Request, captures: Sequence[str | None]) -> str:
        """See Variable."""
        number = self.number
        return (captures[number - 1] or "") if number <= len(captures) else ""


@dataclass(frozen=True, slots=True)
class Template:
    """A value with variables in it."""

    text: str
    """As people wrote it."""
    parts: tuple[str | Variable | Capture, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def fixed(self) -> bool:
        """Whether it is the same for every request."""
        return all(isinstance(part, str) for part in self.parts)

    @classmethod
    def parse(cls, text: str, *, captures: bool = False) -> Template:
        """`captures`: `$1` to `$9` are what the parts of a path in parentheses matched.

        Raises ValueError, whose text continues `... must be`.
        """
        parts: list[str | Variable | Capture] = []
        end = 0
        for match in (_reference_or_capture if captures else _reference).finditer(text):
            name = match[1] or match[2] or ""
            if not _is_known(name, captures=captures):
                raise ValueError(f"a text with variables that nginx has: it has no ${name}")
            if match.start() > end:
                parts.append(text[end : match.start()])
            parts.append(Capture(int(name)) if name.isdigit() else Variable(name))
            end = match.end()
        if end < len(text):
            parts.append(text[end:])
        return cls(text, tuple(parts))

    def render(self, request: Request, captures: Sequence[str | None] = ()) -> str:
        """The value for this request."""
        return "".join([part if isinstance(part, str) else part.of(request, captures) for part in self.parts])


def _is_known(name: str, *, captures: bool) -> bool:
    if name in _VARIABLES:
        return True
    if name.isdigit():
        return captures and name in "123456789"
    family, underscore, own = name.partition("_")
    return family in _FAMILIES and bool(underscore and own)


def request_uri(request: Request) -> str:
    """The target as sent, in origin-form."""
    target = request.target
    if target[:1] == "/":
        return target
    return "/" + target.partition("://")[2].partition("/")[2]


def _user(request: Request) -> str:
    """The name in Basic credentials, whether they are right or not (RFC 7617)."""
    scheme, _, credentials = (request.header("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        name = b64decode(credentials.strip(), validate=True).decode("utf-8").partition(":")[0]
    except (NotBase64, UnicodeDecodeError, ValueError):
        return ""
    return name if name.isprintable() else ""


def _certificate(say: Callable[[ClientCertificate], str]) -> Callable[[Request], str]:
    """Of one that the route's own guard has let pass: others say nothing about the client."""

    def of(request: Request) -> str:
        certificate = None if request.client_tls is None else request.notes.get(CLIENT_CERTIFICATE)
        return "" if certificate is None else say(certificate)

    return of


def _verified(request: Request) -> str:
    if request.client_tls is None:
        return ""
    return "SUCCESS" if CLIENT_CERTIFICATE in request.notes else "NONE"


def _route(name: str) -> Callable[[Request], str]:
    return lambda request: "" if request.route is None else str(getattr(request.route, name))


def _upstream(request: Request) -> str:
    route = request.route
    return "" if route is None else f"{route.namespace}-{route.service}-{route.port}"


def _chain(request: Request) -> str:
    before = request.header("x-forwarded-for")
    return f"{before}, {request.client_address}" if before else request.client_address


_VARIABLES: dict[str, Callable[[Request], str]] = {
    "args": lambda request: request.query,
    "best_http_host": lambda request: request.authority,
    "binary_remote_addr": lambda request: request.client_address,
    "content_length": lambda request: request.header("content-length") or "",
    "content_type": lambda request: request.header("content-type") or "",
    "document_uri": lambda request: request.path,
    "escaped_request_uri": lambda request: quote(request_uri(request), safe=""),
    "host": lambda request: request.host,
    "https": lambda request: "on" if request.scheme == "https" else "",
    "ingress_name": _route("ingress"),
    "is_args": lambda request: "?" if request.query else "",
    "location_path": _route("path"),
    "msec": lambda request: f"{time.time():.3f}",
    "namespace": _route("namespace"),
    "pass_access_scheme": lambda request: request.scheme,
    "pass_port": lambda request: str(request.server_port),
    "pass_server_port": lambda request: str(request.server_port),
    "proxy_add_x_forwarded_for": _chain,
    "proxy_upstream_name": _upstream,
    "query_string": lambda request: request.query,
    "redirect_scheme": lambda request: request.scheme,
    "remote_addr": lambda request: request.client_address,
    "remote_port": lambda request: str(request.client_port),
    "remote_user": _user,
    "req_id": lambda request: request.request_id,
    "request_id": lambda request: request.request_id,
    "request_method": lambda request: request.method,
    "request_uri": request_uri,
    "scheme": lambda request: request.scheme,
    "server_name": _route("host"),
    "server_port": lambda request: str(request.server_port),
    "server_protocol": lambda request: request.version,
    "service_name": _route("service"),
    "service_port": _route("port"),
    "ssl_client_escaped_cert": _certificate(lambda certificate: certificate.escaped_pem),
    "ssl_client_fingerprint": _certificate(lambda certificate: certificate.fingerprint),
    "ssl_client_i_dn": _certificate(lambda certificate: certificate.issuer),
    "ssl_client_s_dn": _certificate(lambda certificate: certificate.subject),
    "ssl_client_serial": _certificate(lambda certificate: certificate.serial),
    "ssl_client_verify": _verified,
    "the_real_ip": lambda request: request.client_address,
    "time_iso8601": lambda request: datetime.now().astimezone().isoformat(timespec="seconds"),
    "uri": lambda request: request.path,
}

_FAMILIES: dict[str, Callable[[Request, str], str]] = {
    "http": lambda request, name: request.header(name.lower().replace("_", "-")) or "",
    "cookie": lambda request, name: request.cookie(name) or "",
    "arg": lambda request, name: request.argument(name) or "",
}
"""What a name begins with -> the value for its rest."""

VARIABLES = tuple(sorted(_VARIABLES))
FAMILIES = tuple(sorted(_FAMILIES))
"""Their names, for the reference page."""
