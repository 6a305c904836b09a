"""Route and VirtualHost: which request goes to which pool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ingressd.table.client_trust import ClientTrust
from ingressd.table.policy import DEFAULT_POLICY, RoutePolicy
from ingressd.table.stream import StreamListener

EXACT = "Exact"
PREFIX = "Prefix"
IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"
DEFAULT = "Default"
"""Path type of a route made from a defaultBackend."""
REGEX = "Regex"
"""Path type of a route whose path is a regular expression, whatever the rule says."""

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
    """RequestFilters in the order they run (filters/base.py)."""
    response_filters: tuple[Any, ...] = ()
    """ResponseFilters in the order they run; a filter may be both."""
    policy: RoutePolicy = DEFAULT_POLICY
    denied: str = ""
    """Why every request gets 503 policy_invalid; empty = served."""
    alternatives: tuple[Alternative, ...] = ()
    """Asked in this order, before anything else of the route: the first that takes the request has it."""
    conditional: bool = False
    """It is there for its alternatives only: what none of them takes goes to the next shorter path."""
    expressions: tuple[Expression, ...] = ()
    """Of a REGEX path: what one of them takes, the route takes."""
    tally: Any = field(default=None, init=False, repr=False, compare=False)
    """Not of its value: where the process that serves it counts its requests (observe/stats.py)."""

    def each(self) -> Iterator[Route]:
        """The route and its alternatives, each once, in the order in which people look for them."""
        if not self.conditional:
            yield self
        yield from {alternative.route.id: alternative.route for alternative in self.alternatives}.values()


class Expression(NamedTuple):
    """A regular expression over path texts (http/path_text.py)."""

    written: str
    """As the rule has it: the longest comes first."""
    pattern: str
    """For `match`, as Python reads it."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A route that has some of the requests of another one."""

    condition: Any
    """Which ones: see routing/conditions.py."""
    route: Route


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
    client_trust: ClientTrust | None = None
    """Whose certificates clients are asked for; None = for none."""
    passthrough: StreamListener | None = None
    """Takes connections that name this host in their ClientHello, with all that is spoken on them."""
