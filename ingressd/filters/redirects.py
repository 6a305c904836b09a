"""permanent-redirect, temporal-redirect and their codes: every request is sent somewhere else.

In: any request of the route. Out: a redirect to the URL, with nginx's variables filled in. It comes before address
lists, authentication and the redirect to HTTPS, as nginx's `return` does. The temporal one wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site
from ingressd.filters.values import boolean, whole
from ingressd.filters.variables import Template
from ingressd.http.path_text import encoded_location

PERMANENT = 301
TEMPORAL = 302

_begins = re.compile(r"https?://|\$scheme://|\$\{scheme\}://|/", re.IGNORECASE).match
_several_slashes = re.compile(r"[/\\]{2,}+")


@dataclass(frozen=True, slots=True)
class Redirect:
    """Sends every request to `url`."""

    name: str
    status: int
    url: Template
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.status} to {self.url}"

    def on_request(self, request: Request) -> LocalReply | None:
        """Always a redirect."""
        location = encoded_location(self.url.render(request))
        if location[:1] == "/":
            location = own_location(request, location, relative=self.relative)
        return LocalReply(self.status, Reason.REDIRECT, headers=((b"Location", location.encode("ascii")),))


def own_location(request: Request, target: str, *, relative: bool) -> str:
    """A location on the host of the request. HTTP/1.0 without Host has only relative ones."""
    if relative or not request.authority:
        # `//name/` would be another host.
        match = _several_slashes.match(target)
        return target if match is None else "/" + target[match.end() :]
    return f"{request.scheme}://{request.authority}{target}"


def destination(text: str) -> Template:
    """A parser of URLs with variables. Raises ValueError."""
    if not _begins(text) or not text.isprintable() or " " in text:
        raise ValueError('a URL with http or https or an absolute path, as in "https://a.test$request_uri"')
    return Template.parse(text)


class _Spec(FilterSpec):
    name = "permanent-redirect, temporal-redirect"
    annotations = (
        Annotation("permanent-redirect", destination, "redirect every request to this URL", "none"),
        Annotation("permanent-redirect-code", whole(300, 308), "the status of permanent-redirect", str(PERMANENT)),
        Annotation("temporal-redirect", destination, "redirect every request to this URL, for the time being", "none"),
        Annotation("temporal-redirect-code", whole(300, 307), "the status of temporal-redirect", str(TEMPORAL)),
        Annotation(
            "relative-redirects",
            boolean,
            "leave scheme and host out of redirects that stay on the host",
            "false",
            note="It holds for app-root, permanent-redirect and temporal-redirect with a path; redirects to HTTPS and"
            " between a host and its www host name another place.",
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        relative = values.get("relative-redirects", False)
        for name, code in (("temporal-redirect", TEMPORAL), ("permanent-redirect", PERMANENT)):
            url = values.get(name)
            if url is not None:
                return Redirect(name, values.get(f"{name}-code", code), url, relative)
        return None


SPEC = _Spec()
