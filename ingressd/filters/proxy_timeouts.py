"""proxy-connect-timeout, proxy-read-timeout, proxy-send-timeout: how long an endpoint may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.values import whole
from ingressd.table.policy import RoutePolicy

_seconds = whole(1, 86_400)


class _Spec(FilterSpec):
    name = "proxy-timeouts"
    annotations = (
        Annotation(
            "proxy-connect-timeout",
            _seconds,
            "seconds for a connection to an endpoint; then the next endpoint is tried, else 504",
            "5",
        ),
        Annotation(
            "proxy-read-timeout",
            _seconds,
            "seconds between two reads of a response, and before its first byte; then 504",
            "60",
            note="An upgraded connection (WebSocket) has no idle timeout.",
        ),
        Annotation("proxy-send-timeout", _seconds, "seconds between two writes of a request; then 504", "60"),
    )

    def refine(self, values: Mapping[str, Any], policy: RoutePolicy) -> RoutePolicy:
        return replace(
            policy,
            connect_s=float(values.get("proxy-connect-timeout", policy.connect_s)),
            read_gap_s=float(values.get("proxy-read-timeout", policy.read_gap_s)),
            send_gap_s=float(values.get("proxy-send-timeout", policy.send_gap_s)),
        )


SPEC = _Spec()
