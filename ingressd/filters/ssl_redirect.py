"""ssl-redirect, force-ssl-redirect, preserve-trailing-slash: send plain HTTP requests to HTTPS.

In: a request on a host with TLS. Out: a redirect to the same host and target; 308 keeps method and body. ACME's HTTP
challenges must be answered over HTTP and pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site
from ingressd.filters.values import boolean
from ingressd.http.target import split_absolute

HTTPS_PORT = 443
STATUS = 308
CHALLENGES = "/.well-known/acme-challenge/"
"""RFC 8555 section 8.3."""


@dataclass(frozen=True, slots=True)
class SslRedirect:
    """Redirects to HTTPS on `port`."""

    port: int
    strips: bool = False
    """Take one slash from the end of the target, as ingress-nginx does; `/` alone stays."""
    status: int = STATUS

    def __str__(self) -> str:
        return f"ssl-redirect: {self.status} to https, port {self.port}"

    def on_request(self, request: Request) -> LocalReply | None:
        """A redirect for plain HTTP; 400 when there is no host that a location could name."""
        if request.scheme == "https" or request.path.startswith(CHALLENGES):
            return None
        if not request.host:
            return LocalReply(400, Reason.BAD_REQUEST, "a Host is needed: this is served over HTTPS only")
        target = request.target
        if target[:1] != "/":
            target = split_absolute(target)[2]
        port = "" if self.port == HTTPS_PORT else f":{self.port}"
        if self.strips and target[-1:] == "/" and target != "/" and "?" not in target:
            target = target[:-1]
        location = f"https://{request.host}{port}{target}"
        return LocalReply(self.status, Reason.REDIRECT, headers=((b"Location", location.encode("ascii")),))


class _Spec(FilterSpec):
    name = "ssl-redirect"
    always = True
    annotations = (
        Annotation("ssl-redirect", boolean, "redirect HTTP to HTTPS where the host has TLS", "true"),
        Annotation(
            "force-ssl-redirect", boolean, "redirect HTTP to HTTPS, also where TLS ends in front of ingressd", "false"
        ),
        Annotation(
            "preserve-trailing-slash",
            boolean,
            "keep the slash at the end of a path in redirects to HTTPS",
            "false",
            note="Only Ingresses that were written for ingress-nginx lose it without this; a query keeps its slash.",
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        served = site.tls and site.https
        wanted = values.get("force-ssl-redirect", False) or (served and values.get("ssl-redirect", True))
        strips = site.nginx and not values.get("preserve-trailing-slash", False)
        return SslRedirect(site.https_redirect_port, strips) if wanted else None


SPEC = _Spec()
