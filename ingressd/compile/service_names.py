"""ServiceNames: what somebody may have meant who names a Service that does not exist.

In: the namespace and name of every Service. Out: a hint. It is asked about mistakes only; many of them cost little,
however many Services there are, and each is looked up once for as long as the Services are the same.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from functools import cached_property

NEAR_NAMES = 50
"""How often a run looks for a similar name: one comparison with 20,000 names takes half a second."""


class ServiceNames:
    """All Services by name and by namespace."""

    def __init__(self, services: Collection[tuple[str, str]] = ()) -> None:
        self._services = frozenset(services)
        self._found: dict[tuple[str, str], str] = {}
        """Similar names that were looked for."""

    def are(self, services: Collection[tuple[str, str]]) -> bool:
        """Whether these are all of them."""
        return len(services) == len(self._services) and self._services.issuperset(services)

    def hint(self, namespace: str, name: str, *, by_ingress: bool, near: bool = True) -> str:
        """What to do about `namespace/name`, which an Ingress names, or else the operator.

        `near`: look for a similar name.
        """
        similar = self._near(namespace, name) if near else ""
        if similar:
            return f"did you mean {similar}?"
        elsewhere = min((each for each in self._by_name.get(name, ()) if each != namespace), default="")
        if elsewhere:
            why = ": an Ingress reaches Services of its own namespace only" if by_ingress else ""
            return f"there is one in the namespace {elsewhere}{why}"
        return f"add a Service {name} in the namespace {namespace}"

    def _near(self, namespace: str, name: str) -> str:
        """The most similar name in the namespace."""
        found = self._found.get((namespace, name))
        if found is None:
            found = next(iter(get_close_matches(name, self._by_namespace.get(namespace, ()), n=1)), "")
            self._found[namespace, name] = found
        return found

    @cached_property
    def _by_namespace(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for namespace, name in sorted(self._services):
            found.setdefault(namespace, []).append(name)
        return found

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for namespace, name in sorted(self._services):
            found.setdefault(name, []).append(namespace)
        return found
