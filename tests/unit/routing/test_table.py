"""Routing by the tables of the Ingress API: hosts, path types, precedence; the index against a naive reference."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.routing.paths import prefix_key, takes, why_not, wildcard_of
from ingressd.routing.table import RoutingTable
from ingressd.routing.trace import Outcome, Trace
from ingressd.table.route import (
    ANY_HOST,
    DEFAULT,
    EXACT,
    IMPLEMENTATION_SPECIFIC,
    PREFIX,
    Route,
    VirtualHost,
)
from ingressd.table.snapshot import Snapshot, diff


def _route(host: str, path: str, path_type: str = PREFIX) -> Route:
    return Route(
        id=f"default/test {host} {path} {path_type}",
        host=host,
        path=path,
        path_type=path_type,
        namespace="default",
        ingress="test",
        pool="default/app:80",
        service="app",
        port="80",
        file="test.yaml",
        line=1,
    )


def _host(name: str, *routes: tuple[str, str], default: Route | None = None) -> VirtualHost:
    return VirtualHost(name, tuple(_route(name, path, kind) for path, kind in routes), default)


def _table(*hosts: VirtualHost, default: Route | None = None) -> RoutingTable:
    return RoutingTable(Snapshot(1, {host.name: host for host in hosts}, default=default))


def _matched(rules: Sequence[tuple[str, str]], path: str) -> tuple[str, str] | None:
    route = _table(_host("a.test", *rules)).match("a.test", path)
    return (route.path, route.path_type) if route is not None else None


E, P, S = EXACT, PREFIX, IMPLEMENTATION_SPECIFIC


@pytest.mark.parametrize(
    ("rules", "path", "winner"),
    [
        ([("/", P)], "/", ("/", P)),
        ([("/", P)], "/any/thing/", ("/", P)),
        ([("/foo", E)], "/foo", ("/foo", E)),
        ([("/foo", E)], "/bar", None),
        ([("/foo", E)], "/foo/", None),
        ([("/foo", E)], "/FOO", None),
        ([("/foo/", E)], "/foo", None),
        ([("/foo/", E)], "/foo/", ("/foo/", E)),
        ([("/foo", P)], "/foo", ("/foo", P)),
        ([("/foo", P)], "/foo/", ("/foo", P)),
        ([("/foo/", P)], "/foo", ("/foo/", P)),
        ([("/foo/", P)], "/foo/", ("/foo/", P)),
        ([("/aaa/bb", P)], "/aaa/bbb", None),
        ([("/aaa/bbb", P)], "/aaa/bbb", ("/aaa/bbb", P)),
        ([("/aaa/bbb/", P)], "/aaa/bbb", ("/aaa/bbb/", P)),
        ([("/aaa/bbb", P)], "/aaa/bbb/", ("/aaa/bbb", P)),
        ([("/aaa/bbb", P)], "/aaa/bbb/ccc", ("/aaa/bbb", P)),
        ([("/aaa/bbb", P)], "/aaa/bbbxyz", None),
        ([("/", P), ("/aaa", P)], "/aaa/ccc", ("/aaa", P)),
        ([("/", P), ("/aaa", P), ("/aaa/bbb", P)], "/aaa/bbb", ("/aaa/bbb", P)),
        ([("/", P), ("/aaa", P)], "/ccc", ("/", P)),
        ([("/aaa", P)], "/ccc", None),
        ([("/foo", P), ("/foo", E)], "/foo", ("/foo", E)),
        ([("/foo", P), ("/foo", E)], "/foo/bar", ("/foo", P)),
        ([("/foo/", P), ("/foo", E)], "/foo", ("/foo", E)),
        ([("/foo", P), ("/foo/", P)], "/foo", ("/foo/", P)),
        ([("/foo", P), ("/foo/", P)], "/foo/", ("/foo/", P)),
        ([("/foo/bar/baz", P), ("/foo", E)], "/foo", ("/foo", E)),
        ([("/", E)], "/", ("/", E)),
        ([("/", E)], "/x", None),
        ([("/foo", S)], "/foo/bar", ("/foo", S)),
        ([("/foo", S)], "/foobar", None),
        ([("/a%2Fb", P)], "/a%2Fb/c", ("/a%2Fb", P)),
        ([("/a/b", P)], "/a%2Fb", None),
        ([("/foo", P)], "/Foo", None),
        ([("/foo", P)], "/", None),
        ([("/a/b/c", P), ("/a", P)], "/a/b", ("/a", P)),
    ],
)
def test_paths_match_as_the_ingress_api_says(
    rules: list[tuple[str, str]], path: str, winner: tuple[str, str] | None
) -> None:
    assert _matched(rules, path) == winner
    assert _matched(rules[::-1], path) == winner


@pytest.mark.parametrize(
    ("host", "winner"),
    [
        ("bar.foo.com", "*.foo.com"),
        ("baz.bar.foo.com", ANY_HOST),
        ("foo.com", "foo.com"),
        ("www.foo.com", "www.foo.com"),
        ("com", ANY_HOST),
        (".foo.com", ANY_HOST),
        ("*.foo.com", "*.foo.com"),
        ("xfoo.com", ANY_HOST),
        ("10.0.0.1", ANY_HOST),
        ("[::1]", ANY_HOST),
        ("", ANY_HOST),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_an_exact_host_comes_before_a_wildcard_before_rules_without_host(host: str, winner: str) -> None:
    names = ["*.foo.com", "foo.com", "www.foo.com", "xn--bcher-kva.example", ANY_HOST]
    table = _table(*(_host(name, ("/", P)) for name in names))
    route = table.match(host, "/x")
    assert route is not None
    assert route.host == winner


def test_a_wildcard_of_two_labels_takes_nothing_else() -> None:
    table = _table(_host("*.bar.foo.com", ("/", P)))
    assert table.match("foo.com", "/") is None
    assert table.match("bar.foo.com", "/") is None
    assert table.match("a.bar.foo.com", "/") is not None


def test_hosts_with_the_same_paths_lead_to_routes_of_their_own() -> None:
    rules = [("/a", EXACT), ("/a", PREFIX), ("/", PREFIX)]
    table = _table(*(_host(name, *rules) for name in ("a.example", "b.example")))
    for host in ("a.example", "b.example"):
        for path, rule in (("/a", ("/a", EXACT)), ("/a/b", ("/a", PREFIX)), ("/b", ("/", PREFIX))):
            route = table.match(host, path)
            assert route is not None
            assert (route.host, route.path, route.path_type) == (host, *rule)


def test_a_host_is_chosen_before_its_paths() -> None:
    table = _table(_host("www.foo.com", ("/a", P)), _host("*.foo.com", ("/", P)), _host(ANY_HOST, ("/", P)))
    assert table.match("www.foo.com", "/b") is None


def test_what_no_path_takes_goes_to_the_default_of_the_host_then_of_all_hosts() -> None:
    own = replace(_route("a.test", "/", DEFAULT), service="own")
    last = replace(_route(ANY_HOST, "/", DEFAULT), service="last")
    table = _table(_host("a.test", ("/x", P), default=own), _host("b.test", ("/x", P)), default=last)
    assert table.match("a.test", "/y") is own
    assert table.match("b.test", "/y") is last
    assert table.match("unknown.test", "/") is last
    taken = table.match("a.test", "/x")
    assert taken is not None
    assert taken.path == "/x"


def test_no_host_and_no_default_is_no_route() -> None:
    assert _table().match("a.test", "/") is None
    assert _table(_host("b.test", ("/", P))).match("a.test", "/") is None


paths = st.lists(st.sampled_from(["a", "b", "ab", "A", ""]), max_size=4).map(
    lambda elements: "/" + "/".join(element for element in elements if element) + "/" * (elements[-1:] == [""])
)
canonical = paths.map(lambda path: path.replace("//", "/"))
rules = st.lists(st.tuples(canonical, st.sampled_from([E, P, S])), max_size=8)


def _reference(routes: Sequence[Route], path: str) -> Route | None:
    """All rules in the order of precedence, one by one."""
    in_order = sorted(routes, key=lambda route: (route.path_type != EXACT, -len(route.path)))
    return next((route for route in in_order if takes(route, path)), None)


@given(rules, canonical)
def test_the_index_finds_what_a_walk_over_all_rules_finds(written: list[tuple[str, str]], path: str) -> None:
    host = _host("a.test", *written)
    trace = Trace()
    table = _table(host)
    winner = table.match("a.test", path)
    assert winner is _reference(host.routes, path)
    assert table.match("a.test", path, trace) is winner
    assert trace.winner is winner


@given(rules, canonical)
def test_a_trace_tells_the_winner_the_losers_and_the_others_apart(written: list[tuple[str, str]], path: str) -> None:
    host = _host("a.test", *{(prefix_key(rule), kind == E): (rule, kind) for rule, kind in written}.values())
    trace = Trace()
    winner = _table(host).match("a.test", path, trace)
    candidates = trace.candidates()
    assert [candidate.route for candidate in candidates] == list(host.routes)
    for candidate in candidates:
        expected = Outcome.MISSED
        if candidate.route is winner:
            expected = Outcome.WON
        elif takes(candidate.route, path):
            expected = Outcome.LOST
        assert candidate.outcome is expected
        assert candidate.why


hosts = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3).map(".".join)


@given(st.sets(hosts), hosts)
def test_hosts_are_found_as_by_a_walk_over_all_hosts(names: set[str], host: str) -> None:
    table = _table(*(_host(name, ("/", P)) for name in names))
    route = table.match(host, "/")
    if host in names:
        expected = host
    else:
        expected = next((name for name in names if name[:2] == "*." and host.partition(".")[2] == name[2:]), "")
    assert (route.host if route is not None else "") == expected


def test_a_long_hostile_path_costs_no_more_steps_than_the_longest_rule() -> None:
    host = _host("a.test", ("/a/b/c", P), ("/a", E))

    class Counted(str):
        cuts = 0

        def __getitem__(self, key: object) -> str:
            Counted.cuts += 1
            return str.__getitem__(self, key)  # type: ignore[index]

    assert _table(host).match("a.test", Counted("/a" * 8000)) is None
    assert Counted.cuts == 1


def test_an_update_keeps_the_indexes_of_hosts_that_did_not_change() -> None:
    stays, goes, changes = _host("s.test", ("/", P)), _host("g.test", ("/", P)), _host("c.test", ("/", P))
    old = Snapshot(1, {host.name: host for host in (stays, goes, changes)})
    table = RoutingTable(old)
    for name in old.hosts:
        assert table.match(name, "/x") is not None
    changed = _host("c.test", ("/x", P))
    new = Snapshot(2, {"s.test": stays, "c.test": changed, "n.test": _host("n.test", ("/", P))})
    updated = table.updated(new, diff(old, new))
    assert updated.match("s.test", "/x") is stays.routes[0]
    assert updated.match("g.test", "/x") is None
    assert updated.match("c.test", "/x") is changed.routes[0]
    assert updated.match("n.test", "/x") is not None
    assert table.match("g.test", "/x") is goes.routes[0]
    assert table.match("c.test", "/x") is changes.routes[0]


def test_hosts_that_clients_make_up_leave_nothing_behind() -> None:
    table = _table(_host("*.foo.com", ("/", P)))
    for number in range(100):
        table.match(f"h{number}.foo.com", "/")
        table.match(f"h{number}.bar.com", "/")
    assert "1 hosts" in repr(table)
    assert len(table._indexes) == 1


def test_a_trace_tells_which_hosts_were_asked_for() -> None:
    trace = Trace()
    _table(_host("*.foo.com", ("/", P)), _host(ANY_HOST, ("/", P))).match("bar.foo.com", "/", trace)
    assert [(host.name, host.outcome) for host in trace.hosts] == [
        ("bar.foo.com", Outcome.MISSED),
        ("*.foo.com", Outcome.WON),
        ("*", Outcome.LOST),
    ]
    assert trace.hosts[2].as_dict()["why"] == "rules without a host: *.foo.com is more specific"


def test_a_trace_tells_why_a_default_backend_takes_the_request() -> None:
    own, last = _route("a.test", "/", DEFAULT), _route(ANY_HOST, "/", DEFAULT)
    trace = Trace()
    _table(_host("a.test", ("/x", P), default=own), default=last).match("a.test", "/y", trace)
    outcomes = [(candidate.route.path_type, candidate.outcome) for candidate in trace.candidates()]
    assert outcomes == [(P, Outcome.MISSED), (DEFAULT, Outcome.WON), (DEFAULT, Outcome.LOST)]
    assert trace.candidates()[0].as_dict()["why"] == "Prefix /x is not the beginning of /y"


@pytest.mark.parametrize(
    ("rule", "path", "why"),
    [
        (("/foo", E), "/foo/", "Exact /foo takes the very path only, and /foo/ differs by the trailing slash"),
        (("/foo", E), "/FOO", "Exact /foo differs from /FOO in upper and lower case"),
        (("/foo", E), "/bar", "Exact /foo is not /bar"),
        (("/foo", P), "/foobar/x", "Prefix /foo compares whole elements: foobar is not foo"),
        (("/foo", P), "/Foo/x", "Prefix /foo differs from /Foo/x in upper and lower case"),
        (("/foo", P), "/x/foo", "Prefix /foo is not the beginning of /x/foo"),
    ],
)
def test_a_miss_has_its_reason_in_words(rule: tuple[str, str], path: str, why: str) -> None:
    route = _route("a.test", *rule)
    assert not takes(route, path)
    assert why_not(route, path) == why


@pytest.mark.parametrize(
    ("host", "wildcard"), [("a.b.c", "*.b.c"), ("a.b", "*.b"), ("a", ""), (".b", ""), ("a.", ""), ("", "")]
)
def test_a_wildcard_replaces_exactly_one_label(host: str, wildcard: str) -> None:
    assert wildcard_of(host) == wildcard


def test_routes_stay_equal_when_they_travel_to_a_worker() -> None:
    host = _host("a.test", ("/", P))
    assert pickle.loads(pickle.dumps(host)) == host
