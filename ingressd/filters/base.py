"""What a filter is given, what it may answer, and how it declares the annotations that ask for it.

A Filter is frozen, comparable and picklable: compile/ builds it, a Route carries it, every request of the route
shares it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ingressd.errors import LocalReply


class Request(Protocol):
    """A request as filters see it."""

    @property
    def method(self) -> str:
        """As sent: methods are case-sensitive."""

    @property
    def scheme(self) -> str:
        """`http` or `https`: the client's, when a trusted proxy in front of us says so."""

    @property
    def host(self) -> str:
        """Lower case, without port; empty when an HTTP/1.0 request named none."""

    @property
    def authority(self) -> str:
        """Host as sent, with its port."""

    @property
    def target(self) -> str:
        """As sent: origin-form or absolute-form, with its query."""

    @property
    def path(self) -> str:
        """Canonical: what routes are matched by."""


class Filter(Protocol):
    """One behaviour of a route. str() says which one, in a few words."""

    def on_request(self, request: Request) -> LocalReply | None:
        """Answer in place of the endpoint, or None to let the request pass."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation, `nginx.ingress.kubernetes.io/NAME` and `ingressd.dev/NAME` alike."""

    name: str
    parse: Callable[[str], Any]
    """The value's meaning. Raises ValueError, whose text continues `... must be`."""
    summary: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where a filter is going to work."""

    host: str
    tls: bool
    """The host has TLS by some Ingress."""
    https: bool
    """We listen for HTTPS ourselves."""
    https_redirect_port: int
    """Port of HTTPS as clients see it, ours or that of a proxy in front of us."""


class FilterSpec(Protocol):
    """A filter's declaration."""

    @property
    def name(self) -> str:
        """As `ingressd routes` and `explain` show it."""

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Those that this filter reads."""

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        """The filter for a route; None when nothing asks for it. `values`: parsed annotations by name."""


def boolean(text: str) -> bool:
    """As ingress-nginx reads one (Go's strconv.ParseBool). Raises ValueError."""
    if text in {"true", "True", "TRUE", "t", "T", "1"}:
        return True
    if text in {"false", "False", "FALSE", "f", "F", "0"}:
        return False
    raise ValueError('"true" or "false"')
