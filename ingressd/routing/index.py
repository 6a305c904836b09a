"""HostIndex: the paths of one host, so arranged that a lookup costs the same for two routes and for ten thousand.

In: a VirtualHost. Out: the Route for a canonical path. Its cost is bounded by the longest rule of the host, never by
what a client sends. How paths are arranged is a matter of the paths alone: hosts that have the same share it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from ingressd.routing.paths import prefix_key
from ingressd.routing.trace import Trace
from ingressd.table.route import EXACT, Route, VirtualHost

_SHARED_ROUTES = 32
"""A host with more is alike to no other."""


class _Arrangement:
    """Exact paths in one dict, Prefix paths in another, whose keys are tried from the longest to the root.

    Their values are places among the routes.
    """

    __slots__ = ("__weakref__", "exact", "longest", "prefixes", "root")

    def __init__(self, rules: Iterable[tuple[bool, str]]) -> None:
        """`rules`: whether it is exact, and the path."""
        exacts: dict[str, int] = {}
        self.prefixes: dict[str, int] = {}
        # The longest first, then in the order of the host: `/foo/` comes before `/foo`, which takes the same requests.
        for place, (exact, path) in sorted(enumerate(rules), key=lambda rule: -len(rule[1][1])):
            if exact:
                exacts.setdefault(path, place)
            else:
                self.prefixes.setdefault(prefix_key(path), place)
        self.exact = exacts or None
        self.root = self.prefixes.pop("", None)
        self.longest = max(map(len, self.prefixes), default=0)


_arrangements: weakref.WeakValueDictionary[tuple[tuple[bool, str], ...], _Arrangement] = weakref.WeakValueDictionary()
"""With fifty thousand hosts, what all of them have is in the processor's cache."""


class HostIndex:
    """The routes of a host in its order, and how its paths are arranged."""

    __slots__ = ("_arrangement", "_routes", "default", "virtual_host")

    def __init__(self, virtual_host: VirtualHost) -> None:
        self.virtual_host = virtual_host
        self.default = virtual_host.default
        self._routes = routes = virtual_host.routes
        rules = tuple((route.path_type == EXACT, route.path) for route in routes)
        arrangement = _arrangements.get(rules) if len(rules) <= _SHARED_ROUTES else None
        if arrangement is None:
            arrangement = _Arrangement(rules)
            if len(rules) <= _SHARED_ROUTES:
                _arrangements[rules] = arrangement
        self._arrangement = arrangement

    def __repr__(self) -> str:
        return f"<HostIndex {self.virtual_host.name or '*'} {len(self.virtual_host.routes)} routes>"

    def match(self, path: str, trace: Trace | None = None) -> Route | None:
        """The route that takes `path`; defaults are the caller's. A trace also gets those that come after it."""
        arrangement, routes = self._arrangement, self._routes
        route: Route | None = None
        if trace is not None:
            trace.paths_of(self.virtual_host, path)
        if arrangement.exact is not None:
            place = arrangement.exact.get(path)
            if place is not None:
                if trace is None:
                    return routes[place]
                trace.takes(route := routes[place])
        if arrangement.longest:
            # A rule of N characters is decided by the first N + 1.
            head = path[: arrangement.longest + 1]
            end = len(head)
            prefixes = arrangement.prefixes
            while end > 0:
                place = prefixes.get(head[:end])
                if place is not None:
                    if trace is None:
                        return routes[place]
                    trace.takes(routes[place])
                    route = route or routes[place]
                end = head.rfind("/", 0, end)
        if arrangement.root is not None:
            if trace is None:
                return routes[arrangement.root]
            trace.takes(routes[arrangement.root])
            route = route or routes[arrangement.root]
        return route
