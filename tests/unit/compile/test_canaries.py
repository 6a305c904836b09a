"""Canaries and conditions: what several Ingresses make of one host and path."""

from __future__ import annotations

from typing import Any

import pytest

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler
from ingressd.errors import Severity
from ingressd.filters.session_cookie import SessionCookie, tag_of
from ingressd.filters.upstream_hash import UpstreamHash
from ingressd.routing.conditions import All, Decided, Share
from ingressd.routing.table import RoutingTable
from ingressd.table.route import REGEX, Route
from tests.support.asked import asked
from tests.unit.compile.manifests import (
    Object,
    backend,
    codes,
    compiled,
    ingress,
    options,
    path,
    resources,
    rule,
    service,
)

NGINX = "nginx.ingress.kubernetes.io/"


def of(name: str, target: str = "web", **annotations: str) -> Object:
    """An Ingress for a.test/, its annotations with the prefix of ingress-nginx, or ours for match-*."""
    written = {key.replace("_", "-"): value for key, value in annotations.items()}
    prefixed = {("ingressd.dev/" if key.startswith("match-") else NGINX) + key: value for key, value in written.items()}
    return ingress(name, annotations=prefixed, rules=[rule("a.test", path(service=target))])


def canary(name: str, target: str = "new", **annotations: str) -> Object:
    return of(name, target, canary="true", **annotations)


def made(*objects: Object, **changes: Any) -> Compilation:
    return compiled(service(), service("new"), service("newer"), *objects, **changes)


def route_of(compilation: Compilation) -> Route:
    (route,) = compilation.snapshot.hosts["a.test"].routes
    return route


def asked_order(route: Route) -> list[tuple[str, str]]:
    return [(type(each.condition).__name__, each.route.ingress) for each in route.alternatives]


def test_all_that_canaries_say_is_asked_before_any_chance() -> None:
    compilation = made(
        canary("c", canary_by_header="x", canary_weight="10"),
        canary("b", "newer", canary_weight="20"),
        of("a"),
        canary("d", canary_by_cookie="y"),
        of("e", "new", match_methods="GET"),
    )
    route = route_of(compilation)
    assert (route.ingress, route.conditional) == ("a", False)
    assert asked_order(route) == [("All", "e"), ("Decided", "c"), ("Decided", "d"), ("Share", "b"), ("Share", "c")]
    shares = [each.condition for each in route.alternatives if isinstance(each.condition, Share)]
    assert [len(share.before) for share in shares] == [0, 1]
    assert codes(compilation) == []


def test_a_total_below_a_hundred_is_a_hundred() -> None:
    for total, expected in (("1", 100), ("100", 100), ("1000", 1000)):
        route = route_of(made(of("a"), canary("b", canary_weight="5", canary_weight_total=total)))
        ((_, alternative),) = [(each.condition, each) for each in route.alternatives]
        assert alternative.condition.rule.canary.total == expected


def test_a_canary_has_the_filters_of_the_main_route_and_a_scheduler_of_its_own() -> None:
    route = route_of(
        made(
            of("a", enable_cors="true", upstream_hash_by="$uri", load_balance="ewma"),
            canary("b", canary_weight="5", load_balance="random", enable_cors="false"),
        )
    )
    (alternative,) = route.alternatives
    names = [type(each).__name__ for each in alternative.route.filters]
    assert names == [type(each).__name__ for each in route.filters if not isinstance(each, UpstreamHash)]
    assert alternative.route.response_filters == route.response_filters
    assert (route.pool, alternative.route.pool) == ("default/web:80~ewma", "default/new:80~random")


def test_how_endpoints_are_spoken_to_is_the_main_ingress_s_to_say() -> None:
    compilation = made(of("a", backend_protocol="HTTPS"), canary("b", canary_weight="5", backend_protocol="HTTP"))
    (alternative,) = route_of(compilation).alternatives
    pools = compilation.snapshot.pools
    assert pools[alternative.route.pool].tls is not None
    assert set(pools) == {route_of(compilation).pool, alternative.route.pool}


def test_a_closed_main_route_closes_its_canaries() -> None:
    compilation = made(of("a", whitelist_source_range="nowhere"), canary("b", canary_weight="5"))
    (alternative,) = route_of(compilation).alternatives
    assert alternative.route.denied == route_of(compilation).denied != ""


@pytest.mark.parametrize("behaviour", ["sticky", "legacy"])
def test_sessions_come_first_when_they_are_sticky(behaviour: str) -> None:
    route = route_of(
        made(
            of("a", affinity="cookie", affinity_canary_behavior=behaviour),
            canary("b", affinity="cookie", session_cookie_name="own", canary_weight="5"),
        )
    )
    canary_route = route.alternatives[0].route
    (session,) = [each for each in canary_route.filters if isinstance(each, SessionCookie)]
    rules = [each.condition for each in route.alternatives]
    if behaviour == "sticky":
        assert session.name == "INGRESSCOOKIE"
        assert isinstance(rules[0], Decided)
        assert rules[0].sticky is not None
        assert (rules[0].sticky.own, rules[0].sticky.others) == (tag_of("default/new:80"), (tag_of("default/web:80"),))
    else:
        assert session.name == "own"
        assert [type(rule) for rule in rules] == [Share]
    assert session in canary_route.response_filters


def test_a_canary_without_its_main_ingress_makes_neither_host_nor_pool() -> None:
    compilation = made(canary("b", canary_weight="5"))
    assert (compilation.snapshot.hosts, compilation.snapshot.pools) == ({}, {})
    (fault,) = compilation.faults
    assert (fault.code, "a.test/ (Prefix)" in fault.message) == ("canary_without_main", True)


def test_a_service_that_a_canary_names_in_vain_is_told_there() -> None:
    compilation = made(of("a"), canary("b", "gone", canary_weight="5"))
    (fault,) = compilation.faults
    assert (fault.code, fault.name) == ("service_missing", "b")


def test_default_backends_of_ingresses_for_some_requests_are_left_out() -> None:
    written = canary("b", canary_weight="5")
    written["spec"]["defaultBackend"] = backend("new")
    compilation = made(of("a"), written)
    assert codes(compilation) == ["default_backend_ignored"]
    assert compilation.snapshot.default is None


def test_the_same_conditions_twice_shadow_the_second() -> None:
    compilation = made(of("a"), of("b", "new", match_query="v=1"), of("c", "newer", match_query="v=1"))
    assert asked_order(route_of(compilation)) == [("All", "b")]
    (fault,) = compilation.faults
    assert (fault.code, fault.name) == ("rule_shadowed", "c")


def test_a_place_with_conditions_only_is_no_route_of_its_own() -> None:
    compilation = made(of("c", "newer", match_query="v=1"), of("b", "new", match_query="v=1, w", match_methods="GET"))
    route = route_of(compilation)
    assert (route.conditional, route.id) == (True, "a.test / Prefix")
    assert asked_order(route) == [("All", "b"), ("All", "c")]
    assert [row.route.ingress for row in compilation.routes] == ["b", "c"]
    assert isinstance(route.alternatives[0].condition, All)
    assert len(route.alternatives[0].condition.conditions) == 3


def test_a_condition_on_an_expression_leaves_the_rest_to_the_plain_path() -> None:
    regex = ingress(
        "b",
        annotations={f"{NGINX}use-regex": "true", "ingressd.dev/match-headers": "X-Env"},
        rules=[rule("a.test", path("/x[0-9]", "new", "ImplementationSpecific"))],
    )
    compilation = made(of("a"), regex)
    table = RoutingTable(compilation.snapshot)
    found = table.match("a.test", "/x1")
    assert found is not None
    assert (found.conditional, found.path_type) == (True, REGEX)
    for headers, name in (({"X-Env": "1"}, "b"), ({}, "a")):
        decided = table.decide(found, "a.test", "/x1", asked("http://a.test/x1", headers=headers))
        assert decided is not None
        assert decided.ingress == name


@pytest.mark.parametrize(
    "annotations",
    [
        {f"{NGINX}canary": "perhaps", f"{NGINX}canary-weight": "100"},
        {f"{NGINX}canry": "true"},
        {"ingressd.dev/match-methods": "get"},
        {f"{NGINX}match-headers": "X"},
        {"ingressd.dev/match-header": "X"},
    ],
)
def test_an_ingress_whose_condition_is_not_understood_takes_nothing(annotations: dict[str, str]) -> None:
    lost = ingress("b", created="2020-01-01T00:00:00Z", annotations=annotations, rules=[rule("a.test", path())])
    compilation = made(of("a"), lost)
    route = route_of(compilation)
    assert (route.ingress, route.alternatives) == ("a", ())
    assert [fault.severity for fault in compilation.faults] == ["error"]


@pytest.mark.parametrize(
    ("annotations", "canary"),
    [
        ({"nginx.ingress.kubernetes.io/canary": "true"}, True),
        ({"ingressd.dev/canary": "true"}, True),
        ({"my.test/canary": "true"}, True),
        ({"ingressd.dev/canary": "false", "nginx.ingress.kubernetes.io/canary": "true"}, False),
        ({"ingressd.dev/canary": "true", "nginx.ingress.kubernetes.io/canary": "false"}, True),
        ({"ingressd.dev/canary": "perhaps", "nginx.ingress.kubernetes.io/canary": "true"}, True),
        ({"nginx.ingress.kubernetes.io/canary-weight": "10"}, False),
        ({}, False),
    ],
)
def test_the_prefix_that_wins_says_whether_it_is_a_canary(annotations: dict[str, str], *, canary: bool) -> None:
    written = ingress(annotations=annotations, rules=[rule("a.test", path())])
    compilation = made(written, annotations_prefix="my.test")
    assert ("canary_without_main" in codes(compilation)) is canary
    assert ("a.test" in compilation.snapshot.hosts) is not canary


def test_an_edit_of_a_canary_reaches_its_main_route_and_back() -> None:
    compiler = Compiler()
    base = [service(), service("new"), service("newer"), of("a")]
    first = compiler.compile(resources(*base), {}, options())
    versions = [
        [canary("b", canary_weight="5")],
        [canary("b", canary_weight="6")],
        [canary("b", "newer", canary_weight="6")],
        [],
    ]
    previous = first.snapshot
    for extra in versions:
        now = compiler.compile(resources(*base, *extra), {}, options(), previous)
        fresh = compiled(*base, *extra)
        assert (now.snapshot.hosts, now.snapshot.pools) == (fresh.snapshot.hosts, fresh.snapshot.pools)
        assert now.faults == fresh.faults
        previous = now.snapshot
    assert previous.hosts == first.snapshot.hosts


def test_the_rules_of_a_canary_on_an_ingress_that_is_none_are_remarked() -> None:
    (told,) = made(of("main", canary_weight="10", canary_by_header="x")).faults
    assert (told.code, told.severity) == ("annotation_differs", Severity.WARNING)
    assert told.message == f"{NGINX}canary-by-header: it has no effect without canary"
    assert made(of("main", canary_weight="10", canary="false")).faults == ()
    assert codes(made(of("main"), canary("c", canary_weight="10"))) == []
