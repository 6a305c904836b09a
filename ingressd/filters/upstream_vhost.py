"""upstream-vhost, connection-proxy-header, proxy-http-version: how endpoints are spoken to.

In: annotations. Out: the Host that the endpoint gets. The other two are read and change nothing: HTTP/1.1 with
persistent connections is spoken always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site, Unusable
from ingressd.filters.values import choice
from ingressd.filters.variables import Template


@dataclass(frozen=True, slots=True)
class UpstreamVhost:
    """Sends `host` in place of the client's Host."""

    host: Template

    def __str__(self) -> str:
        return f"host {self.host}"

    def on_request(self, request: Request) -> None:
        """Change the Host, unless nothing of it is left for this request."""
        host = self.host.render(request)
        if host:
            request.set_upstream_host(host)


def _host(text: str) -> Template:
    if not text or any(each.isspace() for each in text):
        raise ValueError('a host, as in "app.example.com"')
    return Template.parse(text)


def _connection(text: str) -> str:
    if text.lower() not in ("keep-alive", "close", "upgrade", ""):
        raise ValueError('"keep-alive"')
    return text.lower()


class _Spec(FilterSpec):
    name = "upstream-vhost"
    annotations = (
        Annotation("upstream-vhost", _host, "the Host that endpoints get; variables can be in it", "the client's Host"),
        Annotation(
            "connection-proxy-header",
            _connection,
            "the Connection field that endpoints get",
            note="accepted, without effect: connections to endpoints are always persistent",
        ),
        Annotation(
            "proxy-http-version",
            choice("1.0", "1.1"),
            "the version that is spoken to endpoints",
            "1.1",
            note="accepted, without effect: it is always 1.1",
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        host = values.get("upstream-vhost")
        return None if host is None else UpstreamVhost(host)

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        if values.get("connection-proxy-header") == "close":
            yield Unusable("connection-proxy-header", "connections to endpoints are persistent all the same")
        if values.get("proxy-http-version") == "1.0":
            yield Unusable("proxy-http-version", "HTTP/1.1 is spoken to endpoints all the same")


SPEC = _Spec()
