"""hsts-*: tell browsers to come by HTTPS only (RFC 6797). It is said over HTTPS alone (section 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site
from ingressd.filters.values import boolean, whole

MAX_AGE_S = 31_536_000


@dataclass(frozen=True, slots=True)
class Hsts:
    """The policy of a host."""

    value: str

    def __str__(self) -> str:
        return f"hsts: {self.value}"

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter. What the endpoint says about it stays."""
        if request.scheme == "https" and response.header("strict-transport-security") is None:
            response.set_header("Strict-Transport-Security", self.value)


class _Spec(FilterSpec):
    name = "hsts"
    annotations = (
        Annotation("hsts", boolean, "send Strict-Transport-Security over HTTPS", "false", native=True),
        Annotation("hsts-max-age", whole(), "seconds for which browsers remember it", str(MAX_AGE_S), native=True),
        Annotation("hsts-include-subdomains", boolean, "for all names below the host, too", "false", native=True),
        Annotation("hsts-preload", boolean, "the owner wants the host on browsers' lists", "false", native=True),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        if not values.get("hsts", False):
            return None
        value = f"max-age={values.get('hsts-max-age', MAX_AGE_S)}"
        if values.get("hsts-include-subdomains", False):
            value += "; includeSubDomains"
        if values.get("hsts-preload", False):
            value += "; preload"
        return Hsts(value)


SPEC = _Spec()
