"""Hosts that ask for certificates or pass connections on: what an edit changes of them, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import trustme

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler
from ingressd.compile.options import CompileOptions
from ingressd.filters.auth_tls import AuthTls, trust_of
from ingressd.model.resource_set import ResourceSet
from ingressd.sources.documents import read_documents
from ingressd.table.snapshot import diff
from tests.support.authorities import secret_yaml
from tests.support.manifest_edge import ingress_yaml, service_yaml

_FIRST, _SECOND = (trustme.CA().cert_pem.bytes() for _ in range(2))
_GUARD = {"auth-tls-secret": "default/ca", "server-alias": "alias.test"}
_BESIDE = ingress_yaml({}, name="beside", path="/beside")
_REST = (
    "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: rest}\nspec:\n"
    "  defaultBackend: {service: {name: app, port: {number: 80}}}\n---\n"
)
_OPEN = ingress_yaml({}, name="open", host="b.test")

Compile = Callable[..., Compilation]


@pytest.fixture
def compile_text() -> Compile:
    """Compiles one text after the other, as a running controller does it."""
    compiler, last = Compiler(), None

    def compiled(*texts: str) -> Compilation:
        nonlocal last
        text = service_yaml({"app": 8080}) + "".join(texts)
        resources = [each for document in read_documents("m.yaml", text) for each in document.served]
        options = CompileOptions(now=datetime.now(UTC), ssl_passthrough=True)
        last = compiler.compile(ResourceSet.of(resources, ()), {}, options, None if last is None else last.snapshot)
        return last

    return compiled


def secret(authority: bytes) -> str:
    return secret_yaml("ca", {"ca.crt": authority})


def test_what_stays_the_same_is_published_to_nobody(compile_text: Compile) -> None:
    texts = (secret(_FIRST), ingress_yaml(_GUARD | {"ssl-passthrough": "true"}), _BESIDE, _REST, _OPEN)
    before, after = compile_text(*texts).snapshot, compile_text(*texts).snapshot
    assert diff(before, after).empty
    assert all(after.hosts[name] is host for name, host in before.hosts.items())


def test_an_edit_of_the_secret_changes_all_hosts_that_ask_for_it_and_no_other(compile_text: Compile) -> None:
    more = (ingress_yaml(_GUARD), _BESIDE, _REST, _OPEN)
    before, after = compile_text(secret(_FIRST), *more).snapshot, compile_text(secret(_SECOND), *more).snapshot
    assert set(diff(before, after).hosts) == {"a.test", "alias.test"}
    for name in ("a.test", "alias.test"):
        host = after.hosts[name]
        assert host.client_trust is not None
        assert host.client_trust.ca_pem == _SECOND
        assert host.default is not None
        assert {trust_of(route) for route in (*host.routes, host.default)} == {host.client_trust}
    assert after.hosts["b.test"].client_trust is None
    assert trust_of(after.default) is None


def test_an_ingress_that_goes_leaves_the_host_open_and_one_that_comes_guards_it(compile_text: Compile) -> None:
    guarded = compile_text(secret(_FIRST), ingress_yaml(_GUARD), _BESIDE).snapshot
    opened = compile_text(secret(_FIRST), _BESIDE).snapshot
    again = compile_text(secret(_FIRST), ingress_yaml(_GUARD), _BESIDE).snapshot
    assert opened.hosts["a.test"].client_trust is None
    assert not any(isinstance(each, AuthTls) for route in opened.hosts["a.test"].routes for each in route.filters)
    assert guarded.hosts == again.hosts


def test_canaries_and_conditional_routes_of_the_host_are_guarded(compile_text: Compile) -> None:
    canary = ingress_yaml({"canary": "true", "canary-weight": "50"}, name="canary")
    some = ingress_yaml({"ingressd.dev/match-headers": "X-A=1"}, name="some")
    host = compile_text(secret(_FIRST), ingress_yaml(_GUARD), canary, some).snapshot.hosts["a.test"]
    routes = [each for route in host.routes for each in route.each()]
    assert len(routes) == 3
    assert {trust_of(route) for route in routes} == {host.client_trust}


def test_the_default_backend_of_a_guarded_ingress_is_guarded_for_unknown_hosts(compile_text: Compile) -> None:
    text = ingress_yaml(_GUARD).replace(
        "spec:\n", "spec:\n  defaultBackend: {service: {name: app, port: {number: 80}}}\n"
    )
    snapshot = compile_text(secret(_FIRST), text, _OPEN).snapshot
    trust = trust_of(snapshot.default)
    assert trust is not None
    assert trust is snapshot.hosts["a.test"].client_trust


def test_a_twin_is_there_as_long_as_a_route_needs_it(compile_text: Compile) -> None:
    auto = compile_text(ingress_yaml({"backend-protocol": "AUTO_HTTP"})).snapshot
    assert {name: pool.tls is not None for name, pool in auto.pools.items()} == {
        "default/app:80~auto": True,
        "default/app:80~auto~plain": False,
    }
    assert list(compile_text(ingress_yaml({})).snapshot.pools) == ["default/app:80"]


def test_a_canary_of_the_clients_protocol_has_a_twin_of_its_own(compile_text: Compile) -> None:
    canary = ingress_yaml({"canary": "true", "canary-weight": "50"}, name="canary", service="next")
    more = service_yaml({"next": 8081})
    snapshot = compile_text(more, ingress_yaml({"backend-protocol": "AUTO_HTTP"}), canary).snapshot
    assert {"default/next:80~auto", "default/next:80~auto~plain"} <= set(snapshot.pools)
