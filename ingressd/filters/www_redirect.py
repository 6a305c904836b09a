"""from-to-www-redirect: `www.a.test` is sent to `a.test`, or the other way round, whichever of the two has rules.

In: a request for the host that has none. Out: a redirect to the one that has: same scheme, port and target. compile/
makes the host; this file says what happens on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, FilterSpec, Request
from ingressd.filters.ssl_redirect import STATUS
from ingressd.filters.values import boolean
from ingressd.filters.variables import request_uri

WWW = "www."


@dataclass(frozen=True, slots=True)
class WwwRedirect:
    """Redirects to `host`."""

    host: str
    status: int = STATUS

    def __str__(self) -> str:
        return f"from-to-www-redirect: {self.status} to {self.host}"

    def on_request(self, request: Request) -> LocalReply | None:
        """Always a redirect. The port is the one that the client has come by."""
        _, colon, port = request.authority.partition(":")
        location = f"{request.scheme}://{self.host}{colon}{port}{request_uri(request)}"
        return LocalReply(self.status, Reason.REDIRECT, headers=((b"Location", location.encode("ascii")),))


def sibling(host: str) -> str:
    """The other one of the two hosts."""
    return host.removeprefix(WWW) if host.startswith(WWW) else WWW + host


class _Spec(FilterSpec):
    name = "from-to-www-redirect"
    annotations = (
        Annotation(
            "from-to-www-redirect",
            boolean,
            "send requests for www.HOST to HOST, or the other way round, with 308 or the one of --redirect-status",
            "false",
            note="The target is kept whole: ingress-nginx takes a slash from its end.",
        ),
    )


SPEC = _Spec()
