"""canary, canary-*: an Ingress that takes a part of the requests of another one with the same host and path.

In: annotations. Out: what they mean, for compile/: which requests go where is decided with the route, before any
filter runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ingressd.filters.base import Annotation, FilterSpec, Site, Unusable
from ingressd.filters.match import header_name, pattern
from ingressd.filters.values import boolean, whole
from ingressd.http.cookies import valid_name

MOST = 1_000_000


def cookie_name(text: str) -> str:
    """A name that a cookie can have."""
    name = text.strip()
    if not valid_name(name):
        raise ValueError('the name of a cookie, as in "canary"')
    return name


def _text(text: str) -> str:
    return text


class _Spec(FilterSpec):
    name = "canary"
    annotations = (
        Annotation(
            "canary",
            boolean,
            "this Ingress takes a part of the requests of the one with the same host and path",
            "false",
            selects=True,
            note="any number of canaries can belong to one rule: headers and cookies of all of them are asked before"
            " weights, the oldest Ingress first",
        ),
        Annotation(
            "canary-by-header",
            header_name,
            "the value `always` of this header sends a request to the canary, `never` keeps it away",
        ),
        Annotation("canary-by-header-value", _text, "the header has to have this value, in place of `always`"),
        Annotation(
            "canary-by-header-pattern",
            pattern,
            "this regular expression has to be found in the header; canary-by-header-value comes before it",
            note="expressions that could keep a worker busy are refused, and it is not found in values of more than"
            " 512 characters",
        ),
        Annotation(
            "canary-by-cookie",
            cookie_name,
            "the value `always` of this cookie sends a request to the canary, `never` keeps it away",
        ),
        Annotation(
            "canary-weight",
            whole(0, MOST),
            "how many of canary-weight-total requests go to the canary, of those that nothing else decides",
            "0",
            note="the weights of several canaries are shares of one draw: 20 and 30 leave 50 of 100 requests",
        ),
        Annotation("canary-weight-total", whole(0, MOST), "what canary-weight is a part of; at least 100", "100"),
    )

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        first = next((each.name for each in self.annotations if each.name in values), "canary")
        if first != "canary":
            yield Unusable(first, "it has no effect without canary", 'add canary: "true", or remove this')


SPEC = _Spec()

CANARY_READS = frozenset(
    {
        *(annotation.name for annotation in SPEC.annotations),
        "affinity",
        "affinity-canary-behavior",
        "affinity-mode",
        "load-balance",
        "session-cookie-change-on-failure",
        "session-cookie-conditional-samesite-none",
        "session-cookie-domain",
        "session-cookie-expires",
        "session-cookie-max-age",
        "session-cookie-name",
        "session-cookie-partitioned",
        "session-cookie-path",
        "session-cookie-samesite",
        "session-cookie-secure",
        "upstream-hash-by",
        "upstream-hash-by-subset",
        "upstream-hash-by-subset-size",
    }
)
"""Annotations that count on a canary; it leaves all others to the Ingress that it belongs to."""
