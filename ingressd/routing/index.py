"""HostIndex: the paths of one host, so arranged that a lookup costs the same for two routes and for ten thousand.

In: a VirtualHost. Out: the Route for a canonical path. Its cost is bounded by the longest rule of the host, never by
what a client sends.
"""

from __future__ import annotations

import sys

from ingressd.routing.paths import prefix_key
from ingressd.routing.trace import Trace
from ingressd.table.route import EXACT, Route, VirtualHost


class HostIndex:
    """Exact paths in one dict, Prefix paths in another, whose keys are tried from the longest to the root."""

    __slots__ = ("_exact", "_longest", "_prefixes", "_root", "default", "virtual_host")

    def __init__(self, virtual_host: VirtualHost) -> None:
        self.virtual_host = virtual_host
        self.default = virtual_host.default
        exact: dict[str, Route] = {}
        self._prefixes: dict[str, Route] = {}
        # The longest first, then in the order of the host: `/foo/` comes before `/foo`, which takes the same requests.
        for route in sorted(virtual_host.routes, key=lambda route: -len(route.path)):
            if route.path_type == EXACT:
                exact.setdefault(route.path, route)
            else:
                # The hosts share their keys: what all of them have is in the processor's cache.
                self._prefixes.setdefault(sys.intern(prefix_key(route.path)), route)
        self._exact = exact or None
        self._root = self._prefixes.pop("", None)
        self._longest = max(map(len, self._prefixes), default=0)

    def __repr__(self) -> str:
        return f"<HostIndex {self.virtual_host.name or '*'} {len(self.virtual_host.routes)} routes>"

    def match(self, path: str, trace: Trace | None = None) -> Route | None:
        """The route that takes `path`; defaults are the caller's. A trace also gets those that come after it."""
        if trace is not None:
            trace.paths_of(self.virtual_host, path)
        route = None if self._exact is None else self._exact.get(path)
        if route is not None:
            if trace is None:
                return route
            trace.takes(route)
        if self._longest:
            # A rule of N characters is decided by the first N + 1.
            head = path[: self._longest + 1]
            end = len(head)
            while end > 0:
                prefix = self._prefixes.get(head[:end])
                if prefix is not None:
                    if trace is None:
                        return prefix
                    trace.takes(prefix)
                    route = route or prefix
                end = head.rfind("/", 0, end)
        if self._root is not None:
            if trace is None:
                return self._root
            trace.takes(self._root)
            route = route or self._root
        return route
