"""The compiler as a whole: pure, deterministic whatever the order of the files, and sparing with new objects."""

from __future__ import annotations

import copy
import json
import pickle
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import compile_snapshot
from ingressd.compile.options import Certificates, CompileOptions
from ingressd.discovery.base import Answer, Query
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint
from ingressd.table.snapshot import Snapshot, apply, diff
from tests.support.certificates import issue
from tests.unit.compile.manifests import (
    NOW,
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
    slice_of,
    tls_secret,
)

CERTIFICATE = issue("a.test", "*.wild.test")
QUERY = Query("dns", "lone", 80)
ANSWERS = {QUERY: Answer((Endpoint("10.9.9.9", 80, source="dns"),))}

SITE: tuple[Object, ...] = (
    ingress("a", tls=[{"hosts": ["a.test"], "secretName": "tls"}], rules=[rule("a.test", path(), path("/x", "api"))]),
    ingress("b", created="2024-01-01T00:00:00Z", rules=[rule("b.test", path(), path("/lone", "lone"))]),
    ingress("c", rules=[rule("*.wild.test", path("/", "missing")), rule("b.test", path("/", "api"))]),
    ingress("d", defaultBackend=backend("api"), rules=[rule("a.test", path("/x/", "web"))]),
    ingress("e", ingressClassName="traefik", rules=[rule("e.test")]),
    ingress("f", annotations={"ingressd.dev/auth-url": "x"}, rules=[rule("", path("/f"))]),
    service(),
    service("api", annotations={"ingressd.dev/scheduler": "fastest"}),
    service("lone"),
    slice_of(addresses=["10.0.0.1", "10.0.0.2"]),
    slice_of(name="web-2", addresses=["10.0.0.2", "10.0.0.3"]),
    slice_of("api", ["10.0.1.1"]),
    tls_secret("tls", CERTIFICATE.chain_pem, CERTIFICATE.key_pem),
)


def _site(*changed: Object, **changes: Any) -> Compilation:
    """SITE, with the objects of the same kind and name replaced."""
    objects = {(each["kind"], each["metadata"]["name"]): each for each in (*SITE, *changed)}
    return compiled(*objects.values(), answers=ANSWERS, **changes)


def _table(compilation: Compilation) -> list[dict[str, Any]]:
    """The rows, without the lines, which follow the order of the documents."""
    rows = [row.as_dict() for row in compilation.routes] + [row.as_dict() for row in compilation.services]
    return [{key: value for key, value in row.items() if key != "line"} for row in rows]


def _without_places(compilation: Compilation) -> list[tuple[str, ...]]:
    return sorted((fault.code, fault.kind, fault.namespace, fault.name, fault.hint) for fault in compilation.faults)


# The same input makes the same output.


def test_the_same_input_makes_the_same_output() -> None:
    first, second = _site(), _site()
    assert first.snapshot == second.snapshot
    assert first.faults == second.faults
    assert first.queries == second.queries == {QUERY}


@settings(deadline=None)
@given(st.integers())
def test_the_order_of_the_documents_changes_nothing_but_lines(seed: int) -> None:
    shuffled = list(SITE)
    random.Random(seed).shuffle(shuffled)
    compilation, expected = compiled(*shuffled, answers=ANSWERS), _site()
    assert _without_places(compilation) == _without_places(expected)
    assert compilation.queries == expected.queries
    assert compilation.snapshot.certificates == expected.snapshot.certificates
    for row, wanted in zip(_table(compilation), _table(expected), strict=True):
        assert _with_endpoints_in_any_order(row) == _with_endpoints_in_any_order(wanted)


def _with_endpoints_in_any_order(row: dict[str, Any]) -> str:
    """Endpoints keep the order in which they are written: that is the one thing which may differ."""
    text = {key: sorted(value) if key == "endpoints" else value for key, value in row.items() if key != "pools"}
    pools = [
        {**pool, "endpoints": sorted(pool["endpoints"], key=lambda each: str(each["endpoint"]))}
        for pool in sorted(row.get("pools", ()), key=lambda pool: str(pool["id"]))
    ]
    return json.dumps([text, pools], sort_keys=True)


def test_nothing_that_goes_in_is_changed() -> None:
    read, answers, decided = resources(*SITE), dict(ANSWERS), options()
    previous = compile_snapshot(read, answers, decided).snapshot
    before = pickle.dumps((answers, previous))
    faults, names = copy.copy(read.faults), (list(read.services), list(read.slices), list(read.secrets))
    compile_snapshot(read, answers, decided, previous)
    assert pickle.dumps((answers, previous)) == before
    assert read.faults == faults
    assert (list(read.services), list(read.slices), list(read.secrets)) == names


def test_nothing_makes_an_empty_table() -> None:
    compilation = compiled()
    assert compilation.snapshot == Snapshot()
    assert (compilation.faults, compilation.queries, compilation.routes, compilation.services) == (
        (),
        frozenset(),
        (),
        (),
    )


# What did not change is the very same object.


def test_compiling_again_keeps_every_object() -> None:
    first = _site().snapshot
    second = _site(previous=first).snapshot
    for old, new in (
        (first.hosts, second.hosts),
        (first.pools, second.pools),
        (first.certificates, second.certificates),
    ):
        assert old.keys() == new.keys() != set()
        assert all(new[key] is value for key, value in old.items())
    assert second.default is first.default is not None
    assert diff(first, second).empty


def test_an_edit_of_a_rule_changes_its_host_alone() -> None:
    first = _site().snapshot
    edited = ingress("b", created="2024-01-01T00:00:00Z", rules=[rule("b.test", path(), path("/more", "lone"))])
    second = _site(edited, previous=first).snapshot
    delta = diff(first, second)
    assert set(delta.hosts) == {"b.test"}
    assert (delta.pools, delta.certificates) == ({}, {})
    assert apply(first, delta) == second


def test_an_edit_of_endpoints_changes_their_pool_alone() -> None:
    first = _site().snapshot
    second = _site(slice_of("api", ["10.0.1.1", "10.0.1.2"]), previous=first).snapshot
    delta = diff(first, second)
    assert set(delta.pools) == {"default/api:80"}
    assert (delta.hosts, delta.certificates) == ({}, {})


def test_what_is_removed_is_gone() -> None:
    first = _site().snapshot
    second = compiled(*SITE[:1], *SITE[6:7], *SITE[9:11], previous=first).snapshot
    assert set(second.hosts) == {"a.test"}
    assert set(second.pools) == {"default/web:80", "default/api:80"}
    assert second.default is None
    assert diff(first, second).hosts["b.test"] is None


def test_a_certificate_that_is_written_anew_but_is_the_same_stays_the_same_object() -> None:
    first = _site().snapshot
    elsewhere = tls_secret("tls", CERTIFICATE.chain_pem, CERTIFICATE.key_pem)
    elsewhere["metadata"]["labels"] = {"renewed": "true"}
    second = _site(elsewhere, previous=first).snapshot
    assert second.certificates["a.test"] is first.certificates["a.test"]


def test_the_generation_is_left_to_the_caller() -> None:
    assert _site().snapshot.generation == 0
    assert _site(previous=replace(_site().snapshot, generation=7)).snapshot.generation == 7


def test_a_previous_snapshot_changes_nothing_in_what_comes_out() -> None:
    other = compiled(ingress("z", rules=[rule("z.test", path())]), service()).snapshot
    assert _site(previous=other).snapshot == _site().snapshot


# What goes to others.


def test_a_snapshot_travels_to_a_worker() -> None:
    snapshot = _site().snapshot
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot


def test_faults_of_the_sources_and_of_the_compiler_stand_by_their_places() -> None:
    broken = ingress("broken")
    compilation = compiled(
        ingress(rules=[rule("a.test", path("/", "gone"))]), broken, service("x", ports=[{"port": 0}])
    )
    assert codes(compilation) == ["service_missing", "field_required", "field_invalid"]
    places = [(fault.file, fault.line, fault.column) for fault in compilation.faults]
    assert places == sorted(places)


def test_routes_are_shown_by_host_exact_ones_first_then_by_precedence() -> None:
    shown = [(row["host"], row["path"], row["path_type"]) for row in (row.as_dict() for row in _site().routes)]
    assert shown == [
        ("a.test", "/x/", "Prefix"),
        ("a.test", "/", "Prefix"),
        ("a.test", "/", "Default"),
        ("b.test", "/lone", "Prefix"),
        ("b.test", "/", "Prefix"),
        ("*.wild.test", "/", "Prefix"),
        ("*", "/f", "Prefix"),
        ("*", "/", "Default"),
    ]


def test_services_are_shown_with_their_pools_also_those_that_do_not_exist() -> None:
    rows = {row["name"]: row for row in (row.as_dict() for row in _site().services)}
    assert list(rows) == ["api", "lone", "missing", "web"]
    assert rows["missing"]["exists"] is False
    (pool,) = rows["lone"]["pools"]
    assert (pool["discovery"], pool["targets"], pool["problem"]) == ("dns", ["lone"], "")
    assert [each["endpoint"] for each in pool["endpoints"]] == ["10.9.9.9:80"]
    assert [each["endpoint"] for each in rows["web"]["pools"][0]["endpoints"]] == [
        "10.0.0.1:8080",
        "10.0.0.2:8080",
        "10.0.0.3:8080",
    ]
    json.dumps([rows, [row.as_dict() for row in _site().routes]])


@pytest.mark.parametrize("https_port", [None, 443])
def test_options_come_from_the_settings(https_port: int | None) -> None:
    written = Settings(
        ingress_class="edge",
        nginx_class=False,
        classless=False,
        default_backend="ops/errors:80",
        scheduler="lc",
        discovery="off",
        external_name_allow=("127.0.0.0/8",),
        https_redirect_port=9443,
    )
    read = CompileOptions.from_settings(written, https_port, NOW, Certificates())
    for name in ("ingress_class", "nginx_class", "classless", "default_backend", "scheduler", "discovery", "limits"):
        assert getattr(read, name) == getattr(written, name)
    assert (read.external_name_allow, read.https_redirect_port) == (("127.0.0.0/8",), 9443)
    assert (read.https_port, read.now, read.certificates) == (https_port, NOW, Certificates())
