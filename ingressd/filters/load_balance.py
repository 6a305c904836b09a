"""load-balance, service-upstream: who picks the endpoint of a route.

In: annotations. Out: the scheduler of the route's pool; or one attempt only, as at the address of a Service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ingressd.filters.base import Annotation, FilterSpec, Lookup, Site, Unusable
from ingressd.filters.values import boolean
from ingressd.table.policy import RoutePolicy
from ingressd.table.pool_variant import PoolVariant

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "random", "p2c", "ewma", "maglev")
"""Those of balancing/registry.py."""
_NAMES = {"round_robin": "rr", **{name: name for name in SCHEDULERS}}


def _scheduler(text: str) -> str:
    name = _NAMES.get(text.strip())
    if name is None:
        raise ValueError(f"one of {', '.join(_NAMES)}")
    return name


class _Spec(FilterSpec):
    name = "load-balance"
    annotations = (
        Annotation(
            "load-balance",
            _scheduler,
            "which scheduler picks the endpoint: round_robin, ewma, or one of those that Services can have",
            "round_robin",
            note="affinity and upstream-hash-by come before it; without it the Service's own scheduler picks",
        ),
        Annotation(
            "service-upstream",
            boolean,
            "make one attempt only, without affinity, as at the address of the Service",
            "false",
            note="no kube-proxy stands behind that address here: ingressd picks the endpoint",
        ),
    )

    def vary(self, values: Mapping[str, Any], lookup: Lookup, variant: PoolVariant) -> PoolVariant:
        scheduler = values.get("load-balance", "")
        return replace(variant, scheduler=scheduler) if scheduler else variant

    def refine(self, values: Mapping[str, Any], policy: RoutePolicy) -> RoutePolicy:
        return replace(policy, tries=1) if values.get("service-upstream", False) else policy

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        if values.get("service-upstream", False):
            text = "there is no kube-proxy here: endpoints are picked as ever, but there is one attempt and no affinity"
            yield Unusable("service-upstream", text, "remove it to have both")


SPEC = _Spec()
