"""proxy-next-upstream and its kin: which failures get a second attempt, how often, and for how long.

A request is repeated at another endpoint, never at one that it has failed at; one that an endpoint has seen counts
against the pool's retry budget, so that attempts do not multiply what an overloaded pool gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.values import whole
from ingressd.table.policy import (
    CONNECT_TIMEOUT,
    ERROR,
    INVALID_HEADER,
    NON_IDEMPOTENT,
    READ_TIMEOUT,
    RoutePolicy,
)

_CONDITIONS = {
    "error": {ERROR},
    "timeout": {CONNECT_TIMEOUT, READ_TIMEOUT},
    "connect_timeout": {CONNECT_TIMEOUT},
    "invalid_header": {INVALID_HEADER},
    "non_idempotent": {NON_IDEMPOTENT},
}
_STATUSES = {f"http_{status}": status for status in (500, 502, 503, 504, 403, 404, 429)}
_WORDS = ", ".join((*_CONDITIONS, *_STATUSES))
_SECONDS = 86_400


class Conditions(NamedTuple):
    """What asks for another attempt."""

    failures: frozenset[str]
    statuses: frozenset[int]


def conditions(text: str) -> Conditions:
    """nginx's words, with blanks between them. Raises ValueError."""
    words = text.split()
    if not words or ("off" in words and len(words) > 1):
        raise ValueError(f'"off", or some of {_WORDS}')
    failures: set[str] = set()
    statuses: set[int] = set()
    for word in words:
        if word in _CONDITIONS:
            failures |= _CONDITIONS[word]
        elif word in _STATUSES:
            statuses.add(_STATUSES[word])
        elif word != "off":
            raise ValueError(f'"off", or some of {_WORDS}: not {word}')
    return Conditions(frozenset(failures), frozenset(statuses))


class _Spec(FilterSpec):
    name = "next-upstream"
    annotations = (
        Annotation(
            "proxy-next-upstream",
            conditions,
            "after which failures and statuses a request goes to another endpoint",
            "error timeout",
            note="Ingresses that were not written for ingress-nginx have `error connect_timeout`: a request that an"
            " endpoint has been silent about for a minute is not repeated.",
        ),
        Annotation("proxy-next-upstream-tries", whole(), "attempts of one request; 0 is no bound", "3"),
        Annotation(
            "proxy-next-upstream-timeout",
            whole(0, _SECONDS),
            "seconds after which no further attempt begins; 0 is no bound",
            "0",
        ),
        Annotation(
            "per-try-timeout",
            whole(1, _SECONDS),
            "seconds that one attempt waits for a response to begin",
            "as proxy-read-timeout",
            native=True,
        ),
        Annotation(
            "request-timeout",
            whole(0, _SECONDS),
            "seconds for the whole request, all attempts and the response included; 0 is no bound",
            "0",
            native=True,
        ),
    )

    def refine(self, values: Mapping[str, Any], policy: RoutePolicy) -> RoutePolicy:
        wanted = values.get("proxy-next-upstream", Conditions(policy.retry_on, policy.retry_statuses))
        return replace(
            policy,
            retry_on=wanted.failures,
            retry_statuses=wanted.statuses,
            tries=values.get("proxy-next-upstream-tries", policy.tries),
            tries_s=float(values.get("proxy-next-upstream-timeout", policy.tries_s)),
            first_byte_s=float(values.get("per-try-timeout", policy.first_byte_s)),
            request_s=float(values.get("request-timeout", policy.request_s)),
        )


SPEC = _Spec()
