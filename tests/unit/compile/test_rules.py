"""Rules: the compiled table against a reference that walks over all rules of all Ingresses, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.routing.paths import takes, wildcard_of
from ingressd.routing.table import RoutingTable
from ingressd.table.route import DEFAULT, EXACT, Route
from ingressd.table.snapshot import Snapshot
from tests.unit.compile.manifests import Object, backend, codes, compiled, ingress, path, rule, service

HOSTS = ["a.foo.test", "b.foo.test", "*.foo.test", ""]
PATHS = ["/", "/x", "/x/", "/x/y", "/xy", "/X"]
TYPES = ["Exact", "Prefix", "ImplementationSpecific"]
REQUESTS = [
    (host, at) for host in ("a.foo.test", "c.foo.test", "other.test") for at in ("/", "/x", "/x/", "/x/y", "/z")
]


@dataclass(frozen=True)
class _Ingress:
    """An Ingress in short. Each backend has a Service of its own: its name says which rule won."""

    name: str
    created: str | None
    rules: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    default: bool

    def service(self, rule_index: int, path_index: int) -> str:
        return f"{self.name}-{rule_index}-{path_index}"

    def manifest(self) -> Object:
        rules = [
            rule(host, *(path(at, self.service(i, j), kind) for j, (at, kind) in enumerate(paths)))
            for i, (host, paths) in enumerate(self.rules)
        ]
        spec: Object = {"defaultBackend": backend(f"{self.name}-default")} if self.default else {}
        return ingress(self.name, created=self.created, rules=rules, **spec)


paths = st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(TYPES)), max_size=3).map(tuple)
rules = st.lists(st.tuples(st.sampled_from(HOSTS), paths), max_size=3).map(tuple)
created = st.sampled_from([None, "2021-01-01T00:00:00Z", "2022-01-01T00:00:00Z"])
ingresses = st.lists(
    st.builds(_Ingress, st.sampled_from(["i", "j", "k", "m"]), created, rules, st.booleans()),
    max_size=4,
    unique_by=lambda each: each.name,
).map(lambda written: [each for each in written if each.rules or each.default])


def _in_order(written: list[_Ingress]) -> list[_Ingress]:
    return sorted(written, key=lambda each: (each.created is None, each.created or "", each.name))


def _rules_of(written: list[_Ingress], name: str) -> Iterator[tuple[str, str, str]]:
    """Path, type and Service of the host's rules, the older Ingress first."""
    for each in _in_order(written):
        for i, (host, paths) in enumerate(each.rules):
            if host == name:
                for j, (at, kind) in enumerate(paths):
                    yield at, kind, each.service(i, j)


def _reference(written: list[_Ingress], host: str, at: str) -> str:
    """The Service that takes a request, by the words of the Ingress API; empty for 404."""
    named = {name for each in written for name, _ in each.rules}
    chosen = next((name for name in (host, wildcard_of(host), "") if name in named), None)
    defaults = [each for each in _in_order(written) if each.default]
    if chosen is not None:
        found = [
            (kind != EXACT, -len(rule_path), order, name)
            for order, (rule_path, kind, name) in enumerate(_rules_of(written, chosen))
            if takes(_route(rule_path, kind), at)
        ]
        if found:
            return min(found)[3]
        own = [each for each in defaults if chosen in {name for name, _ in each.rules}]
        if own:
            return f"{own[0].name}-default"
    last = [*(each for each in defaults if not each.rules), *(each for each in defaults if each.rules)]
    return f"{last[0].name}-default" if last else ""


def _route(at: str, kind: str) -> Route:
    return Route("", "", at, kind, "", "", "", "", "", "", 0)


def _winner(snapshot: Snapshot, host: str, at: str) -> str:
    route = RoutingTable(snapshot).match(host, at)
    return "" if route is None else route.service


@settings(deadline=None)
@given(ingresses)
def test_the_table_sends_every_request_where_a_walk_over_all_rules_sends_it(written: list[_Ingress]) -> None:
    snapshot = compiled(*(each.manifest() for each in written)).snapshot
    for host, at in REQUESTS:
        assert _winner(snapshot, host, at) == _reference(written, host, at), (host, at)


@settings(deadline=None)
@given(ingresses)
def test_a_rule_is_in_the_table_or_named_as_shadowed(written: list[_Ingress]) -> None:
    compilation = compiled(*(each.manifest() for each in written))
    rules = sum(len(paths) for each in written for _, paths in each.rules)
    routes = [route for host in compilation.snapshot.hosts.values() for route in host.routes]
    shadowed = [fault for fault in compilation.faults if "never gets a request" in fault.message]
    assert len(routes) + len(shadowed) == rules
    assert all(fault.code == "rule_shadowed" and "test.yaml:" in fault.message for fault in shadowed)


@settings(deadline=None)
@given(ingresses)
def test_ids_of_routes_are_unique_and_their_pools_exist(written: list[_Ingress]) -> None:
    snapshot = compiled(*(each.manifest() for each in written)).snapshot
    hosts = snapshot.hosts.values()
    routes = [route for host in hosts for route in host.routes]
    defaults = [host.default for host in hosts if host.default is not None and host.name]
    assert len({route.id for route in (*routes, *defaults)}) == len(routes) + len(defaults)
    assert all(route.pool in snapshot.pools for route in (*routes, *defaults))


@settings(deadline=None)
@given(ingresses)
def test_the_routes_of_a_host_stand_in_their_order_of_precedence(written: list[_Ingress]) -> None:
    for host in compiled(*(each.manifest() for each in written)).snapshot.hosts.values():
        order = [(route.path_type != EXACT, -len(route.path)) for route in host.routes]
        assert order == sorted(order)
        assert all(route.host == host.name for route in host.routes)


def test_each_ingress_keeps_its_own_filters_however_many_there_are() -> None:
    """A policy lives as long as its Ingress is compiled: the next one may stand at the same address."""
    redirect = {"ingressd.dev/force-ssl-redirect": "true"}
    objects = [
        ingress(
            f"i{number:03}", annotations=redirect if number % 3 == 0 else {}, rules=[rule("a.test", path(f"/{number}"))]
        )
        for number in range(60)
    ]
    (host,) = compiled(service(), *objects).snapshot.hosts.values()
    redirected = {route.path for route in host.routes if route.filters}
    assert redirected == {f"/{number}" for number in range(0, 60, 3)}


def test_the_routes_of_one_ingress_and_host_share_their_filters() -> None:
    redirect = {"ingressd.dev/force-ssl-redirect": "true"}
    paths = [path(f"/{number}") for number in range(5)]
    (host,) = compiled(service(), ingress(annotations=redirect, rules=[rule("a.test", *paths)])).snapshot.hosts.values()
    assert len({id(route.filters) for route in host.routes}) == 1


def test_a_filter_knows_whether_its_host_has_tls_by_any_ingress() -> None:
    snapshot = compiled(
        service(),
        ingress("a", tls=[{"hosts": ["*.a.test"]}], rules=[rule("b.test", path())]),
        ingress("b", rules=[rule("www.a.test", path()), rule("*.a.test", path()), rule("a.test", path())]),
    ).snapshot
    redirected = {name for name, host in snapshot.hosts.items() if host.routes[0].filters}
    assert redirected == {name for name, host in snapshot.hosts.items() if host.tls} == {"www.a.test", "*.a.test"}


def test_a_default_backend_has_the_place_and_the_type_of_a_default() -> None:
    snapshot = compiled(service(), ingress(defaultBackend=backend(), rules=[rule("a.test")])).snapshot
    default = snapshot.hosts["a.test"].default
    assert default is not None
    assert (default.path, default.path_type, default.host, default.file) == ("/", DEFAULT, "a.test", "test.yaml")
    assert snapshot.default is not None
    assert (snapshot.default.host, snapshot.default.service) == ("", "web")


def test_the_default_backend_of_the_operator_is_used_only_when_no_ingress_has_one() -> None:
    errors = service("errors", namespace="ops")
    own = compiled(errors, default_backend="ops/errors:80").snapshot
    assert own.default is not None
    assert (own.default.pool, own.default.file) == ("ops/errors:80", "--default-backend")
    other = compiled(errors, service(), ingress(defaultBackend=backend()), default_backend="ops/errors:80")
    assert other.snapshot.default is not None
    assert other.snapshot.default.service == "web"
    assert "ops/errors:80" not in other.snapshot.pools
    assert codes(other) == []
