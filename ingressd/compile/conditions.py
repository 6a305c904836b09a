"""Conditions: what annotations say about which requests an Ingress takes.

In: the Policy of an Ingress. Out: its condition, or the rules of a canary; neither when it takes all requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingressd.compile.policies import Policy
from ingressd.filters.match import Wanted
from ingressd.routing.conditions import HEADER, QUERY, All, Canary, Field, Methods

LEAST_TOTAL = 100
"""ingress-nginx takes a canary-weight-total below this for it."""


def condition_of(policy: Policy) -> All | None:
    """All that match-methods, match-headers and match-query ask for.

    One whose annotations are not understood takes nothing, rather than everything.
    """
    if policy.lost:
        return All(())
    values = policy.values
    conditions: list[Methods | Field] = [
        *_methods(values.get("match-methods", ())),
        *_fields(HEADER, values.get("match-headers", ())),
        *_fields(QUERY, values.get("match-query", ())),
    ]
    return All(tuple(conditions)) if conditions else None


def canary_of(policy: Policy) -> Canary | None:
    """The rules of a canary; None when the Ingress is none."""
    if not policy.canary:
        return None
    values: Mapping[str, Any] = policy.values
    header = values.get("canary-by-header", "")
    return Canary(
        header=header,
        value=values.get("canary-by-header-value", "") if header else "",
        pattern=values.get("canary-by-header-pattern") if header else None,
        broken="canary-by-header-pattern" in policy.unread,
        cookie=values.get("canary-by-cookie", ""),
        weight=values.get("canary-weight", 0),
        total=max(values.get("canary-weight-total", LEAST_TOTAL), LEAST_TOTAL),
    )


def _methods(names: tuple[str, ...]) -> list[Methods]:
    return [Methods(names)] if names else []


def _fields(part: str, wanted: tuple[Wanted, ...]) -> list[Field]:
    return [Field(part, each.name, each.value, each.pattern) for each in wanted]
