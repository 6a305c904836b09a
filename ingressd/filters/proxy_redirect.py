"""proxy-redirect-from, proxy-redirect-to: what an endpoint says in Location and Refresh, as clients reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site, Unusable
from ingressd.filters.variables import Template

FROM, TO = "proxy-redirect-from", "proxy-redirect-to"


@dataclass(frozen=True, slots=True)
class ProxyRedirect:
    """Replaces the beginning of a URL."""

    from_: Template
    to: Template

    def __str__(self) -> str:
        return f"redirects of the endpoint: {self.from_} -> {self.to}"

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter."""
        if response.reason:
            return
        location = response.header("location")
        if location is not None:
            response.set_header("Location", self._changed(request, location))
        refresh = response.header("refresh")
        if refresh is not None:
            head, mark, url = refresh.partition("url=")
            if mark:
                response.set_header("Refresh", f"{head}{mark}{self._changed(request, url)}")

    def _changed(self, request: Request, url: str) -> str:
        prefix = self.from_.render(request)
        return self.to.render(request) + url[len(prefix) :] if url.startswith(prefix) else url


@dataclass(frozen=True, slots=True)
class DefaultRedirect:
    """nginx's `proxy_redirect default`: what the endpoint says about its own address is about ours."""

    def __str__(self) -> str:
        return "redirects of the endpoint: its address -> ours"

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter."""
        if response.reason or not response.endpoint:
            return
        prefix = f"http://{response.endpoint}/"
        location = response.header("location")
        if location is not None and location.startswith(prefix):
            response.set_header("Location", f"{request.scheme}://{request.authority}/{location[len(prefix) :]}")
        head, mark, url = (response.header("refresh") or "").partition("url=")
        if mark and url.startswith(prefix):
            response.set_header("Refresh", f"{head}{mark}/{url[len(prefix) :]}")


class _Spec(FilterSpec):
    name = "proxy-redirect"
    annotations = (
        Annotation(FROM, Template.parse, "what the Location of an endpoint begins with; `default`, or `off`", "off"),
        Annotation(TO, Template.parse, "what takes its place", "off"),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        from_, to = values.get(FROM), values.get(TO)
        if from_ is None or from_.text == "off" or (to is not None and to.text == "off"):
            return None
        if from_.text == "default":
            return DefaultRedirect()
        if to is None:
            raise Unusable(FROM, f"{FROM} says nothing without {TO}")
        return ProxyRedirect(from_, to)


SPEC = _Spec()
