"""proxy-body-size, proxy-request-buffering and their kin: how much body a request may have, and what waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.values import choice
from ingressd.table.policy import RoutePolicy

_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}
_MOST = 2**62


def size(text: str) -> int:
    """nginx's sizes: `1024`, `8k`, `100m`, `1g`. Raises ValueError."""
    digits, unit = text.strip(), 1
    if digits[-1:].lower() in _UNITS:
        digits, unit = digits[:-1], _UNITS[digits[-1].lower()]
    if not digits.isascii() or not digits.isdigit() or int(digits[:20]) * unit > _MOST:
        raise ValueError('a size in bytes, or with k, m or g, as in "8m"')
    return int(digits) * unit


class _Spec(FilterSpec):
    name = "request-body"
    annotations = (
        Annotation(
            "proxy-body-size",
            size,
            "largest request body; above it 413. 0 is no bound",
            "1m",
            note="The default holds for Ingresses of the class `nginx` or with an annotation of ingress-nginx; others"
            " have no bound.",
        ),
        Annotation(
            "proxy-request-buffering",
            choice("on", "off"),
            "take the request body in before an endpoint is asked",
            "on",
            note="Bodies are streamed unless it is set to `on`. Then 64 KiB are taken in, the rest is streamed.",
        ),
        Annotation(
            "client-body-buffer-size",
            size,
            "memory for a request body",
            "16k",
            note="Accepted. A body has 64 KiB of memory, and is never written to a file.",
        ),
    )

    def refine(self, values: Mapping[str, Any], policy: RoutePolicy) -> RoutePolicy:
        return replace(
            policy,
            request_body_bytes=values.get("proxy-body-size", policy.request_body_bytes),
            buffers_request=values.get("proxy-request-buffering", "off") == "on",
        )


SPEC = _Spec()
