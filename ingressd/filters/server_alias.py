"""server-alias: further names for the hosts of an Ingress.

In: names with commas. Out: what compile/ makes hosts of, with the same routes. It is no filter: nothing of it happens
on the request path.
"""

from __future__ import annotations

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.partly import Partly
from ingressd.filters.values import items
from ingressd.model import names

MOST_ALIASES = 100


def host_names(text: str) -> tuple[str, ...]:
    """A parser of host names, each once, lower case. Raises ValueError, or Partly with those that are names."""
    found = tuple(dict.fromkeys(name.lower() for name in items(text)))
    if not 0 < len(found) <= MOST_ALIASES:
        raise ValueError(f'1 to {MOST_ALIASES} host names with commas, as in "a.test, *.b.test"')
    wrong = {name: rule for name in found if (rule := names.host(name))}
    if not wrong:
        return found
    name, rule = next(iter(wrong.items()))
    good = tuple(each for each in found if each not in wrong)
    meanwhile = "only the others are served" if good else "there is no alias"
    raise Partly(f"host names with commas, each {rule}: not {name}", good, meanwhile)


class _Spec(FilterSpec):
    name = "server-alias"
    annotations = (
        Annotation(
            "server-alias",
            host_names,
            "serve these names like the hosts of the rules",
            "none",
            note="No regular expressions (`~^...`). Several Ingresses may name aliases of one host.",
        ),
    )


SPEC = _Spec()
