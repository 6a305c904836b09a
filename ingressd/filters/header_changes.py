"""request-headers-*, response-headers-*: set, add and remove fields on the way to the endpoint and back.

First what is removed goes, then what is set and added comes. Fields that say where a message ends are not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site
from ingressd.filters.header_values import Header, fixed_fields, headers, names
from ingressd.http.edited_lines import FixedFields


@dataclass(frozen=True, slots=True)
class Changes:
    """What is done to the fields of a message."""

    removed: tuple[str, ...]
    set_: tuple[Header, ...]
    added: tuple[Header, ...]
    _absent: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    _fixed: FixedFields | None = field(init=False, repr=False, compare=False, default=None)
    """All of `set_`; None: some differ from request to request."""
    _fixed_too: FixedFields | None = field(init=False, repr=False, compare=False, default=None)
    """All of `added`, likewise."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_absent", frozenset(name.lower() for name in self.removed))
        object.__setattr__(self, "_fixed", fixed_fields(self.set_, unique=True))
        object.__setattr__(self, "_fixed_too", fixed_fields(self.added))

    def __str__(self) -> str:
        return ", ".join(
            (
                *(f"-{name}" for name in self.removed),
                *(f"{name}={value}" for name, value in self.set_),
                *(f"+{name}={value}" for name, value in self.added),
            )
        )

    @property
    def constant(self) -> bool:
        """They are alike for all requests."""
        return self._fixed is not None and self._fixed_too is not None

    def make(self, request: Request, message: Request | Response) -> None:
        """Change the fields of `message`, the request or its response."""
        if self.removed:
            message.remove_all(self._absent)
        if self._fixed is None:
            for name, value in self.set_:
                message.set_header(name, value.render(request))
        elif self.set_:
            message.set_fixed(self._fixed)
        if self._fixed_too is None:
            for name, value in self.added:
                message.add_header(name, value.render(request))
        elif self.added:
            message.add_fixed(self._fixed_too)


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """Changes of requests."""

    changes: Changes

    def __str__(self) -> str:
        return f"request headers: {self.changes}"

    def on_request(self, request: Request) -> None:
        """See RequestFilter."""
        self.changes.make(request, request)


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """Changes of responses, also of those that the proxy makes itself."""

    changes: Changes

    def __str__(self) -> str:
        return f"response headers: {self.changes}"

    @property
    def constant(self) -> bool:
        """See ResponseFilter."""
        return self.changes.constant

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter."""
        self.changes.make(request, response)


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
        return RequestHeaders(_changes(values, "request-headers"))


class _ResponseSpec(FilterSpec):
    name = "response-headers"
    annotations = _annotations("response-headers", "the client")

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return ResponseHeaders(_changes(values, "response-headers"))


def _changes(values: Mapping[str, Any], what: str) -> Changes:
    return Changes(values.get(f"{what}-remove", ()), values.get(f"{what}-set", ()), values.get(f"{what}-add", ()))


REQUESTS = _RequestSpec()
RESPONSES = _ResponseSpec()
