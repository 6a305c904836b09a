"""custom-headers: response fields from a ConfigMap, each of which the operator has allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site, Unusable
from ingressd.filters.header_values import field_name
from ingressd.http.field_rules import valid_value

NAME = "custom-headers"


@dataclass(frozen=True, slots=True)
class CustomHeaders:
    """Fields that every response gets."""

    constant: ClassVar[bool] = True

    fields: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"custom headers: {', '.join(name for name, _ in self.fields)}"

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter."""
        for name, value in self.fields:
            response.set_header(name, value)


def _config_map(text: str) -> str:
    if not text.strip().strip("/"):
        raise ValueError('the name of a ConfigMap, as in "default/headers"')
    return text.strip()


class _Spec(FilterSpec):
    name = NAME
    annotations = (
        Annotation(
            NAME,
            _config_map,
            "the ConfigMap, as NAMESPACE/NAME, whose keys and values are fields of every response",
            note="--allowed-response-headers says which ones may be set, as global-allowed-response-headers does.",
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        assert site.lookup is not None
        name = values[NAME]
        fields = []
        for key, value in site.lookup.config_map(name, NAME).items():
            try:
                field = field_name(key)
            except ValueError as problem:
                raise Unusable(NAME, f"the keys of ConfigMap {name} must be {problem}") from None
            if field.lower() not in site.allowed_response_headers:
                hint = f"run with --allowed-response-headers {field}"
                raise Unusable(NAME, f"the operator has not allowed {field}, which ConfigMap {name} sets", hint)
            if not valid_value(value.encode("utf-8")):
                raise Unusable(NAME, f"the value of {field} in ConfigMap {name} would break its line")
            fields.append((field, value))
        return CustomHeaders(tuple(fields)) if fields else None


SPEC = _Spec()
