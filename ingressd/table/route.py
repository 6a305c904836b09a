"""Route and VirtualHost: which request goes to which pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EXACT = "Exact"
PREFIX = "Prefix"
IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"
DEFAULT = "Default"
"""Path type of a route made from a defaultBackend."""

ANY_HOST = ""
"""Host of a rule that names none."""


@dataclass(frozen=True, slots=True)
class Route:
    """One rule's path with its backend. Immutable: a request carries the Route it matched to its end."""

    id: str
    """`NAMESPACE/INGRESS HOST PATH PATHTYPE`: unique in a snapshot, the same after every reload."""
    host: str
    """`a.example.com`, `*.example.com` or ANY_HOST."""
    path: str
    path_type: str
    namespace: str
    ingress: str
    pool: str
    """Id of the Pool; empty when the backend cannot be served (`denied` or 503 no_endpoints)."""
    service: str
    port: str
    file: str
    line: int
    filters: tuple[Any, ...] = ()
    """Filters in the order they run (filters/base.py)."""
    denied: str = ""
    """Why every request gets 503 policy_invalid; empty = served."""


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """All routes of one host. `routes` is in the total order of precedence; shadowed rules are not in it."""

    name: str
    """`a.example.com`, `*.example.com` or ANY_HOST."""
    routes: tuple[Route, ...]
    default: Route | None = None
    """Takes the paths that no route takes; None = the snapshot's default."""
    tls: bool = False
    """Some Ingress lists this host under spec.tls."""
