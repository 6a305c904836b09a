"""request-headers-*, response-headers-*: set, add and remove fields on the way to the endpoint and back.

First what is removed goes, then what is set and added comes. Fields that say where a message ends are not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site
from ingressd.filters.header_values import Header, headers, names


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """Changes of requests."""

    removed: tuple[str, ...]
    set_: tuple[Header, ...]
    added: tuple[Header, ...]

    def __str__(self) -> str:
        return f"request headers: {_shown(self.removed, self.set_, self.added)}"

    def on_request(self, request: Request) -> None:
        """See RequestFilter."""
        for name in self.removed:
            request.remove_header(name)
        for name, value in self.set_:
            request.set_header(name, value.render(request))
        for name, value in self.added:
            request.add_header(name, value.render(request))


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """Changes of responses, also of those that the proxy makes itself."""

    removed: tuple[str, ...]
    set_: tuple[Header, ...]
    added: tuple[Header, ...]

    def __str__(self) -> str:
        return f"response headers: {_shown(self.removed, self.set_, self.added)}"

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter."""
        for name in self.removed:
            response.remove_header(name)
        for name, value in self.set_:
            response.set_header(name, value.render(request))
        for name, value in self.added:
            response.add_header(name, value.render(request))


def _shown(removed: tuple[str, ...], set_: tuple[Header, ...], added: tuple[Header, ...]) -> str:
    return ", ".join(
        (
            *(f"-{name}" for name in removed),
            *(f"{name}={value}" for name, value in set_),
            *(f"+{name}={value}" for name, value in added),
        )
    )


def _annotations(what: str, where: str) -> tuple[Annotation, ...]:
    return (
        Annotation(f"{what}-remove", names, f"fields that {where} never gets", native=True),
        Annotation(f"{what}-set", headers, f"fields that {where} gets, in place of others of their names", native=True),
        Annotation(f"{what}-add", headers, f"fields that {where} gets beside others of their names", native=True),
    )


class _RequestSpec(FilterSpec):
    name = "request-headers"
    annotations = _annotations("request-headers", "the endpoint")

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return RequestHeaders(*_parts(values, "request-headers"))


class _ResponseSpec(FilterSpec):
    name = "response-headers"
    annotations = _annotations("response-headers", "the client")

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return ResponseHeaders(*_parts(values, "response-headers"))


def _parts(values: Mapping[str, Any], what: str) -> tuple[Any, Any, Any]:
    return values.get(f"{what}-remove", ()), values.get(f"{what}-set", ()), values.get(f"{what}-add", ())


REQUESTS = _RequestSpec()
RESPONSES = _ResponseSpec()
