"""Regular expressions as paths: who makes them of which paths, what is closed, and when the two scopes differ."""

from __future__ import annotations

import pytest

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler
from ingressd.errors import Severity
from ingressd.routing.table import RoutingTable
from ingressd.table.route import REGEX
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

USE_REGEX = {"ingressd.dev/use-regex": "true"}
CREATED = "2025-01-01T00:00:00Z"


def _types(compilation: Compilation) -> dict[str, str]:
    return {f"{row.route.host} {row.route.path}": row.route.path_type for row in compilation.routes}


def _service_of(compilation: Compilation, url_path: str, host: str = "a.test") -> str:
    found = RoutingTable(compilation.snapshot).match(host, url_path)
    return "" if found is None else found.service


@pytest.mark.parametrize(
    ("annotations", "regex"),
    [
        ({}, False),
        ({"use-regex": "true"}, True),
        ({"use-regex": "false"}, False),
        ({"rewrite-target": "/x"}, True),
        ({"rewrite-target": "/x", "use-regex": "false"}, True),
        ({"rewrite-target": "/foo"}, False),
        ({"rewrite-target": "/foo", "use-regex": "true"}, True),
    ],
)
def test_an_ingress_says_that_its_paths_are_expressions(annotations: dict[str, str], regex: bool) -> None:
    compilation = compiled(
        service(),
        ingress(
            annotations={f"ingressd.dev/{key}": value for key, value in annotations.items()},
            rules=[rule("a.test", path("/foo"))],
        ),
    )
    assert _types(compilation) == {"a.test /foo": REGEX if regex else "Prefix"}
    assert codes(compilation) == []


def test_one_path_that_is_rewritten_makes_expressions_of_all_paths_of_the_host_in_its_ingress() -> None:
    rules = [rule("a.test", path("/x"), path("/y", path_type="Exact")), rule("b.test", path("/x"))]
    compilation = compiled(service(), ingress(annotations={"ingressd.dev/rewrite-target": "/x"}, rules=rules))
    assert _types(compilation) == {"a.test /x": REGEX, "a.test /y": REGEX, "b.test /x": "Prefix"}
    found = RoutingTable(compilation.snapshot).match("a.test", "/Yes")
    assert found is not None
    assert found.path == "/y"


def test_a_path_that_is_an_expression_is_not_read_as_the_path_of_a_request() -> None:
    compilation = compiled(
        service(),
        ingress(annotations=USE_REGEX, rules=[rule("a.test", path("/a/.*/../%x", path_type="ImplementationSpecific"))]),
    )
    assert codes(compilation) == []
    assert _types(compilation) == {"a.test /a/.*/../%x": REGEX}


def test_an_expression_that_is_not_understood_is_closed_and_its_neighbours_are_not() -> None:
    compilation = compiled(
        service(),
        ingress(annotations=USE_REGEX, rules=[rule("a.test", path("/api/(x"), path("/ap.*"), path("/api/ok/longer"))]),
    )
    (fault,) = compilation.faults
    assert (fault.severity, fault.code) == (Severity.ERROR, "regex_invalid")
    assert "missing ), unterminated subpattern, at character 6" in fault.message
    assert "/api/ get 503" in fault.message
    table = RoutingTable(compilation.snapshot)
    denied = {
        url: bool(route and route.denied)
        for url in ("/api/x", "/API/y", "/api", "/api/ok/longer")
        if (route := table.match("a.test", url))
    }
    assert denied == {"/api/x": True, "/API/y": True, "/api": False, "/api/ok/longer": False}


def test_the_same_expression_twice_is_served_once() -> None:
    compilation = compiled(
        service("old"),
        service("new"),
        ingress(
            "new", annotations=USE_REGEX, created="2025-02-02T00:00:00Z", rules=[rule("a.test", path("/x", "new"))]
        ),
        ingress("old", annotations=USE_REGEX, created=CREATED, rules=[rule("a.test", path("/x", "old"))]),
    )
    assert [row.route.service for row in compilation.routes] == ["old"]
    assert codes(compilation) == ["rule_shadowed"]


def _mixed(plain: str, regex: str, path_type: str = "Prefix") -> list[Object]:
    return [
        service("plain"),
        service("regex"),
        ingress("plain", rules=[rule("a.test", path(plain, "plain", path_type))]),
        ingress("regex", annotations=USE_REGEX, rules=[rule("a.test", path(regex, "regex"))]),
    ]


@pytest.mark.parametrize(
    ("plain", "path_type", "regex", "url", "goal"),
    [
        ("/foo", "Prefix", "/bar", "/FOO", "plain:80 of Ingress default/plain"),
        ("/foo", "Exact", "/.*", "/foo/x", "plain:80 of Ingress default/plain"),
        ("/a(b", "Prefix", "/bar", "", ""),
    ],
)
def test_a_request_that_the_other_scope_sends_elsewhere_is_named(
    plain: str, path_type: str, regex: str, url: str, goal: str
) -> None:
    compilation = compiled(*_mixed(plain, regex, path_type))
    found = [fault for fault in compilation.faults if fault.code == "regex_scope"]
    assert found[0].severity is Severity.WARNING
    assert found[0].name == "regex"
    if url:
        shown = found[0].message.split(" ")[0].removeprefix("http://a.test")
        other = compiled(*_mixed(plain, regex, path_type), regex_scope="host")
        assert _service_of(compilation, shown) != _service_of(other, shown)
        assert goal in found[0].message


@pytest.mark.parametrize(
    ("plain", "regex"),
    [("/", "/api(/|$)(.*)"), ("/", "/")],
)
def test_where_both_scopes_send_all_requests_to_the_same_place_nothing_is_said(plain: str, regex: str) -> None:
    assert "regex_scope" not in codes(compiled(*_mixed(plain, regex)))


def test_with_the_scope_of_the_host_all_ingresses_of_the_host_have_expressions_and_other_hosts_none() -> None:
    other = ingress("other", rules=[rule("b.test", path("/foo", "plain"))])
    compilation = compiled(*_mixed("/foo", "/bar", "Exact"), other, regex_scope="host")
    assert _types(compilation) == {"a.test /foo": REGEX, "a.test /bar": REGEX, "b.test /foo": "Prefix"}
    assert _service_of(compilation, "/FOOx") == "plain"
    assert codes(compilation) == []


def test_with_the_scope_of_the_host_a_prefix_is_two_locations() -> None:
    compilation = compiled(*_mixed("/foo", "/fo.+"), regex_scope="host")
    assert _service_of(compilation, "/foo/x") == "plain"
    assert _service_of(compilation, "/foox") == "regex"


def test_with_the_scope_of_the_host_a_path_that_is_no_expression_is_closed() -> None:
    compilation = compiled(*_mixed("/a(b", "/bar"), regex_scope="host")
    assert codes(compilation) == ["regex_invalid"]


def test_a_canary_has_the_expressions_of_the_ingress_that_it_belongs_to() -> None:
    annotations = {"ingressd.dev/canary": "true", "ingressd.dev/canary-by-header": "x"}
    main = ingress("main", annotations=USE_REGEX, rules=[rule("a.test", path("/x.*", "main"))])
    canary = ingress("canary", annotations=annotations, rules=[rule("a.test", path("/x.*", "canary"))])
    compilation = compiled(service("main"), service("canary"), main, canary)
    assert "canary_without_main" not in codes(compilation)
    (route,) = compilation.snapshot.hosts["a.test"].routes
    assert {each.route.service for each in route.alternatives} == {"canary"}


def test_an_edit_of_one_ingress_of_a_host_changes_the_mode_of_the_others_and_back() -> None:
    objects = _mixed("/foo", "/bar")
    without = [*objects[:3], ingress("regex", rules=[rule("a.test", path("/bar", "regex"))])]
    compiler, decided = Compiler(), options(regex_scope="host")
    seen = [
        _types(compiler.compile(resources(*each), {}, decided))["a.test /foo"] for each in (without, objects, without)
    ]
    assert seen == ["Prefix", REGEX, "Prefix"]


def test_the_root_is_sent_to_the_application_though_no_path_of_the_ingress_takes_it() -> None:
    annotations = {"ingressd.dev/app-root": "/app"}
    compilation = compiled(service(), ingress(annotations=annotations, rules=[rule("a.test", path("/app"))]))
    assert _types(compilation) == {"a.test /": "Exact", "a.test /app": "Prefix"}
    with_root = compiled(service(), ingress(annotations=annotations, rules=[rule("a.test", path("/"))]))
    assert _types(with_root) == {"a.test /": "Prefix"}


def test_a_default_backend_is_not_rewritten() -> None:
    compilation = compiled(
        service(),
        ingress(
            annotations={"ingressd.dev/rewrite-target": "/x"},
            rules=[rule("a.test", path("/y"))],
            defaultBackend=backend(),
        ),
    )
    filters = {f"{row.route.host} {row.route.path_type}": len(row.route.filters) for row in compilation.routes}
    assert filters == {"a.test Regex": 1, "a.test Default": 0, " Default": 0}


def test_the_route_that_app_root_adds_to_rewritten_paths_is_not_judged_by_their_target() -> None:
    annotations = {"ingressd.dev/app-root": "/app", "ingressd.dev/rewrite-target": "/$1"}
    written = ingress(annotations=annotations, rules=[rule("a.test", path("/p/(.*)"))])
    compilation = compiled(service(), written)
    assert codes(compilation) == []
    assert _types(compilation) == {"a.test /": "Exact", "a.test /p/(.*)": REGEX}
