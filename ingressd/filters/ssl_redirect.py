"""ssl-redirect, force-ssl-redirect: send plain HTTP requests to HTTPS.

In: a request on a host with TLS. Out: 308 to the same host and target, which keeps method and body. ACME's HTTP
challenges must be answered over HTTP and pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, Request, Site, boolean
from ingressd.http.target import split_absolute

HTTPS_PORT = 443
CHALLENGES = "/.well-known/acme-challenge/"
"""RFC 8555 section 8.3."""


@dataclass(frozen=True, slots=True)
class SslRedirect:
    """Redirects to HTTPS on `port`."""

    port: int

    def __str__(self) -> str:
        return f"ssl-redirect: 308 to https, port {self.port}"

    def on_request(self, request: Request) -> LocalReply | None:
        """308 for plain HTTP; 400 when there is no host that a location could name."""
        if request.scheme == "https" or request.path.startswith(CHALLENGES):
            return None
        if not request.host:
            return LocalReply(400, Reason.BAD_REQUEST, "a Host is needed: this is served over HTTPS only")
        target = request.target
        if target[:1] != "/":
            target = split_absolute(target)[2]
        port = "" if self.port == HTTPS_PORT else f":{self.port}"
        location = f"https://{request.host}{port}{target}"
        return LocalReply(308, Reason.REDIRECT, headers=((b"Location", location.encode("ascii")),))


class _Spec:
    name = "ssl-redirect"
    annotations = (
        Annotation("ssl-redirect", boolean, "redirect HTTP to HTTPS where the host has TLS; the default is true"),
        Annotation("force-ssl-redirect", boolean, "redirect HTTP to HTTPS, also where TLS ends in front of ingressd"),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        served = site.tls and site.https
        wanted = values.get("force-ssl-redirect", False) or (served and values.get("ssl-redirect", True))
        return SslRedirect(site.https_redirect_port) if wanted else None


SPEC = _Spec()
