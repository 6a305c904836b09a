"""RoutingTable: the host of a request, then its path. `match` and `explain` are this one algorithm.

In: a Snapshot, and host and path in canonical form. Out: a Route, or None for 404. A table never changes; a reload
makes the next one, which shares the indexes of all hosts that stayed the same.
"""

from __future__ import annotations

from ingressd.routing.conditions import Condition, Request
from ingressd.routing.index import HostIndex
from ingressd.routing.mixed_index import index_of
from ingressd.routing.paths import wildcard_of
from ingressd.routing.trace import Trace
from ingressd.table.route import ANY_HOST, Route
from ingressd.table.snapshot import Delta, Snapshot


class RoutingTable:
    """Hosts are indexed when they are first asked for: a table of 20,000 routes is ready at once."""

    __slots__ = ("_indexes", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._indexes: dict[str, HostIndex] = {}

    def __repr__(self) -> str:
        return f"<RoutingTable generation {self.snapshot.generation}, {len(self.snapshot.hosts)} hosts>"

    def updated(self, snapshot: Snapshot, delta: Delta) -> RoutingTable:
        """The table of `snapshot`; `delta` is what changed since this one."""
        table = RoutingTable(snapshot)
        table._indexes = indexes = self._indexes.copy()
        for name in delta.hosts:
            indexes.pop(name, None)
        return table

    def match(self, host: str, path: str, trace: Trace | None = None) -> Route | None:
        """The route that takes a request, or None.

        `host` is lower case, without port and trailing dot (empty: the request names none); `path` is canonical.
        An exact host is chosen before a wildcard, a wildcard before the rules for all hosts; paths of other hosts
        are not tried after that.
        """
        index = self._indexes.get(host)
        if index is None or trace is not None:
            index = self._choose(host, trace)
        route = None if index is None else index.match(path, trace)
        if route is None or trace is not None:
            return self._or_default(index, route, trace)
        return route

    def decide(self, route: Route, host: str, path: str, request: Request, trace: Trace | None = None) -> Route | None:
        """Who has `request`, of those that `route` leads to, which `match` has found; None: nobody.

        It costs something only where there are alternatives. With a trace, chance decides nothing.
        """
        taken = _taken(route, request, trace)
        if taken is None and route.conditional:
            lookup = Trace()
            self.match(host, path, lookup)
            # The first one is `route` itself.
            for candidate in lookup.takers()[1:]:
                taken = _taken(candidate, request, trace)
                if taken is not None:
                    break
        if trace is not None:
            trace.winner = taken
        return taken

    def _choose(self, host: str, trace: Trace | None) -> HostIndex | None:
        chosen: HostIndex | None = None
        wildcard = wildcard_of(host)
        if host != ANY_HOST:
            chosen = self._asked(host, chosen, "the host itself", trace)
        if wildcard and (chosen is None or trace is not None):
            chosen = self._asked(wildcard, chosen, "the wildcard for one label", trace)
        if chosen is None or trace is not None:
            chosen = self._asked(ANY_HOST, chosen, "rules without a host", trace)
        return chosen

    def _asked(self, name: str, chosen: HostIndex | None, what: str, trace: Trace | None) -> HostIndex | None:
        index = self._index(name)
        if trace is not None:
            if index is None:
                why = f"{what}: no rule names it" if name != ANY_HOST else f"{what}: there are none"
            elif chosen is None:
                why = f"{what}: chosen, and only its paths are looked at"
            else:
                why = f"{what}: {chosen.virtual_host.name} is more specific"
            trace.host(name, index is not None, why)
        return chosen or index

    def _index(self, name: str) -> HostIndex | None:
        index = self._indexes.get(name)
        if index is None:
            host = self.snapshot.hosts.get(name)
            if host is not None:
                # Only hosts of the table get an entry: what clients make up must not fill memory.
                index = self._indexes[name] = index_of(host)
        return index

    def _or_default(self, index: HostIndex | None, route: Route | None, trace: Trace | None) -> Route | None:
        own = None if index is None else index.default
        route = route or own or self.snapshot.default
        if trace is not None:
            trace.winner = route
            trace.defaults(own, self.snapshot.default)
        return route


def _taken(route: Route, request: Request, trace: Trace | None) -> Route | None:
    for alternative in route.alternatives:
        condition: Condition = alternative.condition
        if not (trace is not None and condition.by_chance) and condition.takes(request):
            return alternative.route
    return None if route.conditional else route
