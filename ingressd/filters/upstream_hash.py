"""upstream-hash-by: requests that are alike go to the same endpoint, in every worker.

In: a value with nginx's variables, which is the key. Out: an Affinity that finds the key's endpoint, or one of the
key's subset of endpoints. Without a key the scheduler picks.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ingressd.filters.base import Annotation, E, Filter, FilterSpec, Request, Site
from ingressd.filters.rendezvous import best, several
from ingressd.filters.values import boolean, whole
from ingressd.filters.variables import Template

SUBSET_SIZE = 3

_DICE = random.Random()


class Keyed:
    """See filters.base.Affinity. The endpoint of a key."""

    __slots__ = ("_key", "_subset")

    def __init__(self, key: str, subset: int) -> None:
        self._key = key
        self._subset = subset

    def choose(self, endpoints: Sequence[E], tried: Collection[E]) -> E | None:
        """See Affinity. Chance only says which one of a subset it is."""
        if not self._subset:
            return best(self._key, endpoints, tried)
        open_ = [each for each in several(self._key, endpoints, self._subset) if each not in tried]
        return _DICE.choice(open_) if open_ else best(self._key, endpoints, tried)


@dataclass(frozen=True, slots=True)
class UpstreamHash:
    """Sends each value of `by` to an endpoint of its own, or to one of `subset`."""

    balances: ClassVar[bool] = True
    by: Template
    subset: int = 0
    """Endpoints that a key has; 0 = one."""

    def __str__(self) -> str:
        return f"endpoint by {self.by}" + (f", one of {self.subset}" if self.subset else "")

    def on_request(self, request: Request) -> None:
        """Prefer the endpoint of the request's key."""
        key = self.by.render(request)
        if key:
            request.prefer(Keyed(key, self.subset))


def _template(text: str) -> Template:
    if not text.strip():
        raise ValueError('a text with variables, as in "$request_uri"')
    return Template.parse(text)


class _Spec(FilterSpec):
    name = "upstream-hash"
    annotations = (
        Annotation(
            "upstream-hash-by",
            _template,
            "send requests with the same value of these variables to the same endpoint",
            note="requests for which the value is empty are spread by the scheduler, not all sent to one endpoint",
        ),
        Annotation(
            "upstream-hash-by-subset",
            boolean,
            "send them to one of a few endpoints, by chance, which are the same for the same value",
            "false",
        ),
        Annotation(
            "upstream-hash-by-subset-size",
            whole(1, 10_000),
            "how many endpoints that are",
            str(SUBSET_SIZE),
            note="each value has its own choice of endpoints; ingress-nginx divides the endpoints into fixed groups",
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        by = values.get("upstream-hash-by")
        # A cookie's session comes before it, and service-upstream has but one endpoint.
        if by is None or values.get("affinity") or values.get("service-upstream", False):
            return None
        subset = values.get("upstream-hash-by-subset-size", SUBSET_SIZE)
        return UpstreamHash(by, subset if values.get("upstream-hash-by-subset", False) else 0)


SPEC = _Spec()
