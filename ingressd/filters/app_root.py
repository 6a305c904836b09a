"""app-root: whoever asks for `/` is sent to where the application begins.

In: a request for exactly `/`. Out: 302 to the path, on the same host. All other requests pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site
from ingressd.filters.redirects import own_location
from ingressd.http.path_text import encoded_location

STATUS = 302


@dataclass(frozen=True, slots=True)
class AppRoot:
    """Redirects `/` to `path`."""

    path: str
    relative: bool = False

    def __str__(self) -> str:
        return f"app-root: {STATUS} from / to {self.path}"

    def on_request(self, request: Request) -> LocalReply | None:
        """302 for `/`."""
        if request.path != "/":
            return None
        location = own_location(request, self.path, relative=self.relative)
        return LocalReply(STATUS, Reason.REDIRECT, headers=((b"Location", location.encode("ascii")),))


def absolute_path(text: str) -> str:
    """A parser of paths, with a query if need be. Raises ValueError."""
    if text[:1] != "/" or not text.isprintable():
        raise ValueError('an absolute path, as in "/app"')
    return encoded_location(text)


class _Spec(FilterSpec):
    name = "app-root"
    annotations = (Annotation("app-root", absolute_path, "send requests for / to this path with 302", "none"),)

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        path = values.get("app-root")
        return None if path is None else AppRoot(path, values.get("relative-redirects", False))


SPEC = _Spec()
