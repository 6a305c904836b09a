"""ServiceNames: what somebody may have meant who names a Service that does not exist.

In: the namespace and name of every Service. Out: a hint. It is asked about mistakes only; many of them cost little,
however many Services there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property

NEAR_NAMES = 50
"""How often a similar name is looked for: one comparison with 20,000 names takes half a second."""


class ServiceNames:
    """All Services by name and by namespace."""

    def __init__(self, services: Iterable[tuple[str, str]]) -> None:
        self._services = services
        self._near_left = NEAR_NAMES

    def hint(self, namespace: str, name: str, *, by_ingress: bool) -> str:
        """What to do about `namespace/name`, which an Ingress names, or else the operator."""
        near = self._near(namespace, name)
        if near:
            return f"did you mean {near}?"
        elsewhere = min((each for each in self._by_name.get(name, ()) if each != namespace), default="")
        if elsewhere:
            why = ": an Ingress reaches Services of its own namespace only" if by_ingress else ""
            return f"there is one in the namespace {elsewhere}{why}"
        return f"add a Service {name} in the namespace {namespace}"

    def _near(self, namespace: str, name: str) -> str:
        """The most similar name in the namespace."""
        self._near_left -= 1
        if self._near_left < 0:
            return ""
        return next(iter(get_close_matches(name, self._by_namespace.get(namespace, ()), n=1)), "")

    @cached_property
    def _by_namespace(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for namespace, name in self._services:
            found.setdefault(namespace, []).append(name)
        return found

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for namespace, name in self._services:
            found.setdefault(name, []).append(namespace)
        return found
