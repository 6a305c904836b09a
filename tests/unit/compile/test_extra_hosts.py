"""server-alias and from-to-www-redirect: hosts that no rule has, who may have them, and their certificates."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler
from ingressd.errors import Severity
from ingressd.filters.www_redirect import WwwRedirect
from ingressd.routing.table import RoutingTable
from tests.support.certificates import issue
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
    tls_secret,
)

NOW = datetime.now(UTC)


def _ingress(name: str, host: str, created: int = 1, **annotations: str) -> Object:
    keys = {f"ingressd.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    moment = f"2025-01-0{created}T00:00:00Z"
    return ingress(name, annotations=keys, created=moment, rules=[rule(host, path("/"), path("/x"))])


def _faults(compilation: Compilation) -> list[tuple[str, str]]:
    return [(fault.name, fault.message) for fault in compilation.faults]


def test_an_alias_has_all_routes_of_the_host_under_its_own_name() -> None:
    other = ingress("other", rules=[rule("a.test", path("/other"))], defaultBackend=backend())
    compilation = compiled(service(), _ingress("web", "a.test", server_alias="b.test, *.c.test"), other)
    assert codes(compilation) == []
    ids = {name: [route.id for route in compilation.snapshot.hosts[name].routes] for name in ("b.test", "*.c.test")}
    assert ids["b.test"] == [
        "default/other b.test /other Prefix",
        "default/web b.test /x Prefix",
        "default/web b.test / Prefix",
    ]
    assert len(ids["*.c.test"]) == 3
    default = compilation.snapshot.hosts["b.test"].default
    assert default is not None
    assert (default.id, default.host) == ("default/other b.test / Default", "b.test")
    found = RoutingTable(compilation.snapshot).match("any.c.test", "/x")
    assert found is not None
    assert found.host == "*.c.test"
    assert len({row.route.id for row in compilation.routes}) == len(compilation.routes)


def test_an_alias_that_has_rules_or_another_owner_is_left_out_and_said() -> None:
    compilation = compiled(
        service(),
        _ingress("web", "a.test", server_alias="b.test, c.test, a.test"),
        _ingress("own", "b.test"),
        _ingress("late", "d.test", 2, server_alias="c.test, e.test"),
    )
    assert sorted(compilation.snapshot.hosts) == ["a.test", "b.test", "c.test", "d.test", "e.test"]
    assert {route.ingress for route in compilation.snapshot.hosts["c.test"].routes} == {"web"}
    assert all(fault.severity is Severity.INFO and fault.code == "host_taken" for fault in compilation.faults)
    assert sorted(_faults(compilation)) == [
        ("late", "c.test: it is no alias, because Ingress default/web at test.yaml:3 has it already"),
        ("web", "b.test: it is no alias, because b.test has rules of its own"),
    ]


def test_an_ingress_that_is_called_like_its_host_keeps_its_name_under_an_alias() -> None:
    compilation = compiled(service(), _ingress("xa.test", "a.test", server_alias="b.test"))
    assert [route.id for route in compilation.snapshot.hosts["b.test"].routes] == [
        "default/xa.test b.test /x Prefix",
        "default/xa.test b.test / Prefix",
    ]


def test_a_host_and_its_name_with_www_are_sent_to_the_one_that_has_rules() -> None:
    compilation = compiled(
        service(),
        _ingress("a", "a.test", from_to_www_redirect="true"),
        _ingress("b", "www.b.test", from_to_www_redirect="true"),
        _ingress("c", "c.test", from_to_www_redirect="false"),
        _ingress("d", "*.d.test", from_to_www_redirect="true"),
    )
    assert codes(compilation) == []
    hosts = compilation.snapshot.hosts
    assert sorted(hosts) == ["*.d.test", "a.test", "b.test", "c.test", "www.a.test", "www.b.test"]
    assert [hosts[name].routes[0].filters for name in ("www.a.test", "b.test")] == [
        (WwwRedirect("a.test"),),
        (WwwRedirect("www.b.test"),),
    ]
    assert [hosts[name].routes[0].id for name in ("www.a.test", "b.test")] == [
        "default/a www.a.test / Prefix",
        "default/b b.test / Prefix",
    ]


def test_the_status_of_the_redirect_is_the_one_that_the_operator_chose() -> None:
    compilation = compiled(service(), _ingress("a", "a.test", from_to_www_redirect="true"), redirect_status=301)
    assert compilation.snapshot.hosts["www.a.test"].routes[0].filters == (WwwRedirect("a.test", 301),)


def test_nobody_is_redirected_from_a_host_that_has_rules_or_is_an_alias() -> None:
    compilation = compiled(
        service(),
        _ingress("a", "a.test", from_to_www_redirect="true"),
        _ingress("own", "www.a.test"),
        _ingress("b", "b.test", from_to_www_redirect="true"),
        _ingress("alias", "c.test", 2, server_alias="www.b.test"),
    )
    assert codes(compilation) == ["host_taken", "host_taken"]
    assert sorted(_faults(compilation)) == [
        ("a", "www.a.test: there is no redirect from it, because www.a.test has rules of its own"),
        ("b", "www.b.test: there is no redirect from it, because Ingress default/alias at test.yaml:9 has it already"),
    ]


def test_an_ingress_for_all_hosts_has_no_extra_ones() -> None:
    compilation = compiled(service(), _ingress("web", "", server_alias="b.test", from_to_www_redirect="true"))
    assert sorted(compilation.snapshot.hosts) == [""]


@pytest.mark.parametrize("kind", ["server_alias", "from_to_www_redirect"])
@pytest.mark.parametrize(
    ("names", "served", "said"),
    [
        (("a.test", "www.a.test"), True, []),
        (("a.test", "*.a.test"), True, []),
        (("a.test",), False, ["extra_host_certificate"]),
    ],
)
def test_the_certificate_of_the_host_is_served_under_the_other_name_when_it_is_for_both(
    names: tuple[str, ...], served: bool, said: list[str], kind: str
) -> None:
    issued = issue(*names)
    secured = _ingress("web", "a.test", **{kind: "www.a.test" if kind == "server_alias" else "true"})
    secured["spec"]["tls"] = [{"hosts": ["a.test"], "secretName": "cert"}]
    compilation = compiled(service(), tls_secret("cert", issued.chain_pem, issued.key_pem), secured, now=NOW)
    assert codes(compilation) == said
    assert ("www.a.test" in compilation.snapshot.certificates) is served
    assert compilation.snapshot.hosts["www.a.test"].tls


def test_extra_hosts_stay_the_same_objects_until_something_of_them_changes() -> None:
    compiler, decided = Compiler(), options()
    web = _ingress("web", "a.test", server_alias="b.test", from_to_www_redirect="true")
    first = compiler.compile(resources(service(), web), {}, decided)
    other = compiler.compile(resources(service(), web, _ingress("z", "z.test")), {}, decided, first.snapshot)
    for name in ("b.test", "www.a.test"):
        assert other.snapshot.hosts[name] is first.snapshot.hosts[name]
    gone = compiler.compile(resources(service(), _ingress("web", "a.test")), {}, decided, other.snapshot)
    assert sorted(gone.snapshot.hosts) == ["a.test"]


def test_a_host_whose_ingress_takes_nothing_has_no_name_beside_it() -> None:
    lost = _ingress("a", "a.test", from_to_www_redirect="true", server_alias="b.test", match_methods="get")
    compilation = compiled(service(), lost)
    assert codes(compilation) == ["annotation_invalid"]
    assert [name for name, host in compilation.snapshot.hosts.items() if host.routes or host.default] == []
    bare = ingress("bare", annotations={"ingressd.dev/from-to-www-redirect": "true"}, rules=[rule("c.test")])
    assert [*compiled(service(), bare).snapshot.hosts] == ["c.test"]
