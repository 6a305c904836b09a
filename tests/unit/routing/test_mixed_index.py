"""Hosts of which some paths are regular expressions: which route takes a path, and that explain says the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.http.path_text import path_text
from ingressd.routing.index import HostIndex
from ingressd.routing.mixed_index import MixedIndex, index_of, precedence
from ingressd.routing.paths import takes, why_not
from ingressd.routing.table import RoutingTable
from ingressd.routing.trace import Outcome, Trace
from ingressd.table.route import EXACT, PREFIX, REGEX, Expression, Route, VirtualHost
from ingressd.table.snapshot import Snapshot
from tests.support.edge import route

R, P, E = REGEX, PREFIX, EXACT


def _route(path: str, path_type: str, *more: str) -> Route:
    expressions = tuple(Expression(each, each) for each in (path, *more)) if path_type == R else ()
    return route("a.test", path, id=f"{path} {path_type}", path_type=path_type, expressions=expressions)


def _host(*routes: Route) -> VirtualHost:
    return VirtualHost("a.test", tuple(sorted(routes, key=precedence)))


def _table(*routes: Route) -> RoutingTable:
    return RoutingTable(Snapshot(1, {"a.test": _host(*routes)}))


@pytest.mark.parametrize(
    ("rules", "path", "winner"),
    [
        ([("/foo", R)], "/FooBar", ("/foo", R)),
        ([("/foo", R)], "/x/foo", None),
        ([("/foo/bar", R), ("/foo/.*", R)], "/foo/bar", ("/foo/bar", R)),
        ([("/foo/ba", R), ("/foo/.*", R)], "/foo/ba", ("/foo/ba", R)),
        ([("/foo/b", R), ("/foo/.*", R)], "/foo/b", ("/foo/.*", R)),
        ([("/fo.", R), ("/foo", R)], "/foo", ("/foo", R)),
        ([("/.oo", R), ("/fo.", R)], "/foo", ("/fo.", R)),
        ([("/foo", R), ("/foo", E)], "/foo", ("/foo", E)),
        ([("/longer.*", R), ("/l", E)], "/l", ("/l", E)),
        ([("/foo", R), ("/foo", P)], "/foo/x", ("/foo", P)),
        ([("/foo", R), ("/foo", P)], "/foobar", ("/foo", R)),
        ([("/f.+", R), ("/foo", P)], "/foo", ("/foo", P)),
        ([("/fo.+", R), ("/foo", P)], "/foo", ("/fo.+", R)),
        ([("/api(/|$)(.*)", R), ("/", P)], "/api/x", ("/api(/|$)(.*)", R)),
        ([("/api(/|$)(.*)", R), ("/", P)], "/apix", ("/", P)),
        ([("/", R), ("/x", P)], "/y", ("/", R)),
        ([("/caf\u00e9 x", R)], "/caf%C3%A9%20x", ("/caf\u00e9 x", R)),
        ([("/a/b", R)], "/a%2Fb", None),
        ([("/a/b", P), ("/x", R)], "/a/b/c", ("/a/b", P)),
    ],
)
def test_exact_comes_first_then_the_longest_as_written_then_what_is_no_expression(
    rules: list[tuple[str, str]], path: str, winner: tuple[str, str] | None
) -> None:
    for order in (rules, rules[::-1]):
        found = _table(*(_route(*each) for each in order)).match("a.test", path)
        assert (None if found is None else (found.path, found.path_type)) == winner


def test_a_route_of_two_locations_is_tried_at_the_length_of_each() -> None:
    split, other = _route("/foo", R, "/foo/"), _route("/fo.+", R)
    table = _table(split, other)
    assert table.match("a.test", "/foo/x") is split
    assert table.match("a.test", "/foobar") is other


def test_only_hosts_with_expressions_try_any() -> None:
    assert type(index_of(_host(_route("/foo", P)))) is HostIndex
    assert type(index_of(_host(_route("/foo", P), _route("/foo", R)))) is MixedIndex


paths = st.lists(st.sampled_from(["a", "b", "ab", "A", "%20"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
expressions = st.sampled_from(["/", "/a", "/a/", "/a.", "/.b", "/(a|b)+$", "/A/b", "/a/.*", "/ab|/b", "/a b"])
rules = st.lists(st.one_of(st.tuples(expressions, st.just(R)), st.tuples(paths, st.sampled_from([P, E]))), max_size=8)


def _reference(routes: Sequence[Route], path: str) -> Route | None:
    return next((each for each in routes if takes(each, path)), None)


@given(rules, paths)
def test_the_index_finds_what_a_walk_over_all_rules_finds_and_explain_says_so(
    written: list[tuple[str, str]], path: str
) -> None:
    routes = {each.path.rstrip("/") + each.path_type: each for each in (_route(*rule) for rule in written)}
    host = _host(*routes.values())
    table = RoutingTable(Snapshot(1, {"a.test": host}))
    trace = Trace()
    winner = table.match("a.test", path)
    assert winner is _reference(host.routes, path)
    assert table.match("a.test", path, trace) is winner
    assert trace.takers() == [each for each in host.routes if takes(each, path)]
    for candidate in trace.candidates():
        expected = Outcome.LOST if takes(candidate.route, path) else Outcome.MISSED
        assert candidate.outcome is (Outcome.WON if candidate.route is winner else expected)


def test_explain_tells_why_an_expression_won_lost_or_missed() -> None:
    trace = Trace()
    _table(_route("/foo.+", R), _route("/fo", R), _route("/", P), _route("/bar", R)).match("a.test", "/foo%20x", trace)
    assert [(each.route.path, each.outcome, each.why) for each in trace.candidates()] == [
        ("/foo.+", Outcome.WON, "the regular expression ^/foo.+ is the longest that takes /foo%20x"),
        ("/bar", Outcome.MISSED, "the regular expression ^/bar does not match /foo x"),
        ("/fo", Outcome.LOST, "Regex /foo.+ comes first: the longest path as it is written wins"),
        ("/", Outcome.LOST, "Regex /foo.+ comes first: the longest path as it is written wins"),
    ]
    assert path_text("/foo%20x") == "/foo x"
    assert why_not(_route("/bar", R), "/foo%20x") == "the regular expression ^/bar does not match /foo x"
