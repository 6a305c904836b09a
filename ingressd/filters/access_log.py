"""enable-access-log: whether the requests of a route are written to the access log. They are counted all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.values import boolean
from ingressd.table.policy import RoutePolicy

_NO_REWRITE_LOG = "Accepted. `ingressd explain` shows what a rewrite does to a request."


class _Spec(FilterSpec):
    name = "access-log"
    annotations = (
        Annotation("enable-access-log", boolean, "write requests to the access log", "true"),
        Annotation("enable-rewrite-log", boolean, "write rewrites to the error log", "false", note=_NO_REWRITE_LOG),
    )

    def refine(self, values: Mapping[str, Any], policy: RoutePolicy) -> RoutePolicy:
        return replace(policy, access_log=values.get("enable-access-log", True))


SPEC = _Spec()
