"""backend-protocol: whether TLS is spoken to the endpoints of a route.

In: annotations. Out: a variant of the route's pool; with AUTO_HTTP, a filter that sends requests which came without TLS
to the pool's twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ingressd.filters.base import Annotation, Filter, FilterSpec, Lookup, Request, Site, Unusable
from ingressd.table.pool_variant import AUTO, HTTP, HTTPS, TWIN, PoolVariant

_SPOKEN = {"HTTP": HTTP, "HTTPS": HTTPS, "AUTO_HTTP": AUTO}
_GRPC = "gRPC needs HTTP/2, and HTTP/1.1 is spoken to endpoints"
_FCGI = "FastCGI is another protocol than HTTP"
_NOT_SPOKEN = {"GRPC": _GRPC, "GRPCS": _GRPC, "FCGI": _FCGI}
_INSTEAD = {
    _GRPC: "instead publish the port at layer 4: a Service of the type NodePort or LoadBalancer passes HTTP/2 through",
    _FCGI: "instead put an HTTP server in front of it, and name the HTTP server's Service here",
}


@dataclass(frozen=True, slots=True)
class ClientsProtocol:
    """Speaks the client's scheme to endpoints."""

    def __str__(self) -> str:
        return "backend-protocol: the client's scheme"

    def on_request(self, request: Request) -> None:
        """Take the twin for plain HTTP."""
        route = request.route
        if request.scheme == "http" and route is not None:
            request.send_to(f"{route.pool}{TWIN}")


def _protocol(text: str) -> str:
    word = text.strip().upper()
    if word in _SPOKEN or word in _NOT_SPOKEN:
        return word
    raise ValueError(f"one of {', '.join(_SPOKEN)}")


class _Spec(FilterSpec):
    name = "backend-protocol"
    annotations = (
        Annotation(
            "backend-protocol",
            _protocol,
            "what is spoken to endpoints: HTTP, HTTPS, or with AUTO_HTTP the client's scheme",
            "HTTP, or what the appProtocol of the Service's port says",
            guard=True,
            note="Upper and lower case are the same. GRPC, GRPCS and FCGI are not supported: the route answers 503, and"
            " so it does with a word that is none, rather than speaking without TLS.",
        ),
    )

    def vary(self, values: Mapping[str, Any], lookup: Lookup, variant: PoolVariant) -> PoolVariant:
        word = values.get("backend-protocol")
        if word is None:
            return variant
        why = _NOT_SPOKEN.get(word)
        if why is not None:
            raise Unusable("backend-protocol", f"{word} is not supported yet, because {why}", _INSTEAD[why])
        return replace(variant, protocol=_SPOKEN[word])

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return ClientsProtocol() if values.get("backend-protocol") == "AUTO_HTTP" else None


SPEC = _Spec()
