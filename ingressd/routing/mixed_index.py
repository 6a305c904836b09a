"""MixedIndex: the paths of a host of which some are regular expressions.

In: a VirtualHost. Out: the Route for a canonical path. Exact paths come first; of the others the longest one as it is
written, and of two that are as long the one that is no expression. Where all paths are expressions, that is nginx's
order. Expressions are tried one after the other: only their hosts pay for that.
"""

from __future__ import annotations

from dataclasses import replace

from ingressd.http.path_text import expression, path_text
from ingressd.routing.index import HostIndex
from ingressd.routing.trace import Trace
from ingressd.table.route import EXACT, REGEX, Expression, Route, VirtualHost


def index_of(virtual_host: VirtualHost) -> HostIndex:
    """The index that the paths of a host need."""
    if any(route.path_type == REGEX for route in virtual_host.routes):
        return MixedIndex(virtual_host)
    return HostIndex(virtual_host)


def precedence(route: Route) -> tuple[object, ...]:
    """What the routes of a host are sorted by: those that are asked first come first."""
    regex = route.path_type == REGEX
    length = max((len(each.written) for each in route.expressions), default=len(route.path))
    # ingress-nginx sorts by path, downwards, and then by length.
    return route.path_type != EXACT, -length, regex, _downwards(route.path) if regex else route.path


def _downwards(text: str) -> tuple[int, ...]:
    return (*(-ord(each) for each in text), 1)


class MixedIndex(HostIndex):
    """A HostIndex for the plain paths, and the expressions in their order."""

    __slots__ = ("_expressions",)

    def __init__(self, virtual_host: VirtualHost) -> None:
        super().__init__(
            replace(virtual_host, routes=tuple(each for each in virtual_host.routes if each.path_type != REGEX))
        )
        self.virtual_host = virtual_host
        written = ((each, route) for route in virtual_host.routes for each in route.expressions)
        self._expressions = tuple(
            (len(each.written), expression(each.pattern).match, route) for each, route in sorted(written, key=_order)
        )

    def match(self, path: str, trace: Trace | None = None) -> Route | None:
        """See HostIndex."""
        if trace is not None:
            return self._traced(path, trace)
        plain = super().match(path)
        if plain is None:
            least = 0
        elif plain.path_type == EXACT:
            return plain
        else:
            least = len(plain.path) + 1
        text = path_text(path)
        for length, matches, route in self._expressions:
            if length < least:
                break
            if matches(text):
                return route
        return plain

    def _traced(self, path: str, trace: Trace) -> Route | None:
        trace.paths_of(self.virtual_host, path)
        lookup = Trace()
        super().match(path, lookup)
        text = path_text(path)
        takers = {route.id: (_rank(route.path_type, len(route.path), False), route) for route in lookup.takers()}
        for length, matches, route in self._expressions:
            if matches(text):
                takers.setdefault(route.id, (_rank(REGEX, length, True), route))
        # Sorting keeps the order of those that are alike.
        found = [route for _, route in sorted(takers.values(), key=lambda each: each[0])]
        for route in found:
            trace.takes(route)
        return found[0] if found else None


def _order(written: tuple[Expression, Route]) -> tuple[int, tuple[int, ...]]:
    text = written[0].written
    return -len(text), _downwards(text)


def _rank(path_type: str, length: int, regex: bool) -> tuple[bool, int, bool]:
    return path_type != EXACT, -length, regex
