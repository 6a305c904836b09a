"""A Compiler that remembers makes what one without memory makes, whatever was edited before."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar, cast

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler, compile_snapshot
from ingressd.compile.options import CompileOptions
from ingressd.discovery.base import Answer, Query
from ingressd.model.resource_set import ResourceSet
from ingressd.sources.documents import Document, read_documents
from ingressd.table.endpoint import Endpoint
from ingressd.table.snapshot import Delta, Snapshot, diff
from tests.support.certificates import issue
from tests.unit.compile.manifests import (
    NOW,
    Object,
    backend,
    ingress,
    options,
    path,
    rule,
    service,
    slice_of,
    tls_secret,
)

V = TypeVar("V")

ONE, OTHER = issue("a.test", "*.wild.test"), issue("b.test")
CLIENT_CA = trustme.CA().cert_pem.bytes().decode()
REDIRECT = {"ingressd.dev/ssl-redirect": "false"}
EXTRA = {"ingressd.dev/server-alias": "alias.test, a.test", "ingressd.dev/from-to-www-redirect": "true"}
GUARD = {"ingressd.dev/auth-type": "basic", "ingressd.dev/auth-secret": "users"}
CLIENTS = {"ingressd.dev/auth-tls-secret": "default/users"}
PASS = {"ingressd.dev/ssl-passthrough": "true"}
SHARE = {"ingressd.dev/canary": "true", "ingressd.dev/canary-weight": "20"}
MIRROR = {"ingressd.dev/mirror-target": "http://api.default.svc/"}


def _secret(name: str, values: Mapping[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}


def _class(name: str, controller: str, *, default: bool = False) -> Object:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": controller},
    }


WILD = rule("x.wild.test", path(), path("/x", "api"))
VARIANTS: Mapping[str, tuple[Object, ...]] = {
    "ingress a": (
        ingress("a", rules=[rule("a.test", path(), path("/x", "api")), rule("a.test", path("/é", "missing"))]),
        ingress("a", rules=[rule("a.test", path("/x/", "api", port="http"))], defaultBackend=backend("api")),
        ingress("a", rules=[rule("a.test", path())], tls=[{"hosts": ["a.test", "b.test"], "secretName": "one"}]),
        ingress("a", rules=[WILD], tls=[{"hosts": ["*.wild.test"], "secretName": "one"}]),
        ingress("a", rules=[rule("a.test", path())], ingressClassName="theirs"),
    ),
    "ingress b": (
        ingress("b", rules=[rule("b.test", path(), path("/lone", "lone")), WILD]),
        ingress("b", created="2020-01-01T00:00:00Z", rules=[rule("a.test", path("/x", "web"))], tls=[{"hosts": []}]),
        ingress("b", rules=[rule("b.test", path("/", "web", port=8080))], annotations=REDIRECT),
        ingress("b", annotations={"ingressd.dev/canary": "true"}, rules=[rule("a.test", path())]),
        ingress("b", tls=[{"hosts": ["a.test"], "secretName": "other"}, {"secretName": "one"}], rules=[WILD]),
    ),
    "ingress c": (
        ingress("c", defaultBackend=backend("api")),
        ingress("c", defaultBackend=backend("aip"), rules=[rule("a.test", path("/", "wbe"))]),
        ingress("c", defaultBackend={"resource": {"kind": "Bucket", "name": "x"}}),
        ingress("c", namespace="other", rules=[rule("", path("/c", "web")), rule("a.test")], defaultBackend=backend()),
    ),
    "ingress d": (
        ingress("d", annotations={"ingressd.dev/auth-url": "x", "ingressd.dev/nope": ""}, rules=[rule("", path("/d"))]),
        ingress("d", defaultBackend=backend("lone"), rules=[rule("d.test", path("/%zz"))]),
        ingress("d", annotations=SHARE, rules=[rule("d.test", path())]),
    ),
    "ingress e": (
        ingress("e", annotations=EXTRA, rules=[rule("e.test", path(), path("/y"))]),
        ingress("e", annotations=EXTRA, rules=[rule("e.test", path(), path("/z", "api"))], tls=[{"hosts": ["e.test"]}]),
        ingress("e", annotations=GUARD, rules=[rule("a.test", path("/e")), rule("e.test", path())]),
        ingress("e", annotations=CLIENTS, rules=[rule("e.test", path()), rule("b.test", path("/e"))]),
        ingress("e", annotations=PASS, rules=[rule("e.test", path()), rule("a.test", path("/e"))]),
    ),
    "ingress f": (
        ingress("f", annotations=SHARE, rules=[rule("a.test", path("/", "api")), rule("e.test", path("/", "lone"))]),
        ingress("f", annotations=SHARE, rules=[rule("a.test", path("/", "gone")), rule("e.test", path("/", "lone"))]),
        ingress("f", annotations=MIRROR, rules=[rule("f.test", path()), rule("www.e.test", path())]),
        ingress("f", annotations=EXTRA, rules=[rule("f.test", path("/f"))], defaultBackend=backend("api")),
        ingress("f", annotations=PASS, rules=[rule("e.test", path())]),
    ),
    "secret users": (
        _secret("users", {"auth": "a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "ca.crt": CLIENT_CA}),
        _secret("users", {"other": "x"}),
    ),
    "class theirs": (
        _class("theirs", "example.com/x", default=True),
        _class("theirs", "ingressd.dev/ingress-controller"),
    ),
    "class ours": (_class("ours", "ingressd.dev/ingress-controller", default=True),),
    "service web": (
        service(),
        service(ports=[{"port": 80, "targetPort": "named"}, {"name": "alt", "port": 8080, "appProtocol": "grpc"}]),
        service(annotations={"ingressd.dev/scheduler": "fastest"}),
        service(type="ExternalName", externalName="web.example"),
    ),
    "service api": (
        service("api", ports=[{"name": "http", "port": 80}]),
        service("api", annotations={"ingressd.dev/discovery": "static: 10.7.7.7"}),
    ),
    "service node": (
        service("node", type="NodePort", ports=[{"port": 80, "nodePort": 30001}]),
        service("node", type="LoadBalancer", externalIPs=["127.0.0.2", "10.0.0.1"], ports=[{"port": 30002}]),
        service("node", type="NodePort", ports=[{"port": 80, "nodePort": 30002, "protocol": "UDP"}]),
    ),
    "service rival": (
        service("rival", type="NodePort", ports=[{"port": 80, "nodePort": 30002}]),
        service("rival", type="NodePort", ports=[{"port": 30001, "nodePort": 30001, "appProtocol": "grpc"}]),
    ),
    "service lone": (service("lone"), service("lone", namespace="other")),
    "slice web": (slice_of(), slice_of(addresses=["10.0.0.2"], port=81), slice_of("gone")),
    "slice more": (slice_of(name="more", addresses=["10.0.0.9"]),),
    "slice api": (slice_of("api", ["10.0.1.1"]),),
    "secret one": (
        tls_secret("one", ONE.chain_pem, ONE.key_pem),
        tls_secret("one", OTHER.chain_pem, OTHER.key_pem),
        tls_secret("one", ONE.chain_pem, OTHER.key_pem),
    ),
    "secret other": (tls_secret("other", ONE.chain_pem, ONE.key_pem), tls_secret("other", b"", b"")),
}
ANSWERED = tuple(
    Answer(endpoints, problem)
    for endpoints in ((), (Endpoint("10.9.9.9", 80, source="dns"),), (Endpoint("127.0.0.1", 80, source="dns"),))
    for problem in ("", "no such name")
)
QUERIES = (Query("dns", "web", 80), Query("dns", "lone", 80), Query("dns", "web.example", 80))
DECISIONS: tuple[dict[str, Any], ...] = (
    {},
    {"now": NOW + timedelta(days=20_000)},
    {"default_backend": "default/api:80"},
    {"default_backend": "default/gone:80", "classless": False},
    {"https_port": None, "scheduler": "wrr"},
    {"discovery": "off", "external_name_allow": ("127.0.0.0/8",)},
    {"ssl_passthrough": True},
)

ONES = tuple(sorted(name for name in VARIANTS if name.startswith(("ingress", "service", "secret"))))
"""Objects whose edit leaves the decisions about all others as they are."""
BROKEN = cast("dict[Query, Answer]", dict.fromkeys(QUERIES, "no answer"))
"""Answers with which a run fails half-way."""

Step = tuple[dict[str, int], dict[Query, Answer | None], int]
"""Objects by the number of their variant, none for less than 0; answers; the number of a decision."""
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(sorted(VARIANTS)), st.integers(-1, 4), max_size=3),
        st.dictionaries(st.sampled_from(QUERIES), st.sampled_from((None, *ANSWERED)), max_size=2),
        st.sampled_from((0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 6)),
    ),
    min_size=2,
    max_size=12,
)


class Site:
    """Manifests in two files, which are edited; unchanged documents stay the same objects, as in a FileSource."""

    def __init__(self) -> None:
        self._objects = {name: variants[0] for name, variants in VARIANTS.items()}
        self._documents: dict[str, tuple[Document, ...]] = {}
        self.answers: dict[Query, Answer] = {}

    def edit(self, step: Step) -> None:
        """Replace or remove objects and answers."""
        objects, answers, _ = step
        for name, number in objects.items():
            if number < 0:
                self._objects.pop(name, None)
            else:
                self._objects[name] = VARIANTS[name][number % len(VARIANTS[name])]
        for query, answer in answers.items():
            self.answers.pop(query, None)
            if answer is not None:
                self.answers[query] = answer

    def resources(self) -> ResourceSet:
        """As they are now."""
        for file in ("a.yaml", "b.yaml"):
            own = [each for name, each in self._objects.items() if (name < "m") == (file == "a.yaml")]
            text = "\n---\n".join(json.dumps(each) for each in own)
            self._documents[file] = read_documents(file, text, self._documents.get(file, ()))
        documents = [document for each in self._documents.values() for document in each]
        return ResourceSet.of(
            [resource for document in documents for resource in document.served],
            [fault for document in documents for fault in document.faults],
            files=2,
        )


def _same(one: Compilation, other: Compilation) -> None:
    assert one.snapshot == other.snapshot
    assert one.faults == other.faults
    assert one.queries == other.queries
    assert one.asked == other.asked
    # Those of pools have no order: an edit that opens a port costs as much as the port.
    assert [list(each) for each in (one.snapshot.hosts, one.snapshot.certificates)] == [
        list(each) for each in (other.snapshot.hosts, other.snapshot.certificates)
    ]
    assert [row.as_dict() for row in one.services] == [row.as_dict() for row in other.services]


def _plain_diff(old: Snapshot, new: Snapshot) -> Delta:
    """Key by key."""

    def changed(before: Mapping[str, V], after: Mapping[str, V]) -> dict[str, V | None]:
        keys = {**before, **after}
        return {key: after.get(key) for key in keys if before.get(key) != after.get(key)}

    return Delta(
        old.generation,
        new.generation,
        changed(old.hosts, new.hosts),
        changed(old.pools, new.pools),
        changed(old.certificates, new.certificates),
        new.default_certificate,
        new.default,
        changed(old.streams, new.streams),
    )


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_after_any_edits_the_memory_changes_nothing_in_what_comes_out(steps: list[Step]) -> None:
    site, compiler = Site(), Compiler()
    previous: Snapshot | None = None
    for step in steps:
        site.edit(step)
        now = options(**DECISIONS[step[2]])
        resources = site.resources()
        remembered = compiler.compile(resources, site.answers, now, previous)
        _same(remembered, compile_snapshot(resources, site.answers, now, previous))
        previous = remembered.snapshot


EDITS: st.SearchStrategy[list[tuple[Step, bool, int]]] = st.lists(
    st.tuples(
        st.tuples(
            st.dictionaries(st.sampled_from(ONES), st.integers(0, 4), min_size=1, max_size=2), st.just({}), st.just(6)
        ),
        st.sampled_from((False, False, True)),
        st.sampled_from((0, 0, 0, 1, 2)),
    ),
    min_size=2,
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(EDITS)
def test_edits_of_single_objects_are_taken_in_whatever_failed_before_and_whatever_was_served(
    edits: list[tuple[Step, bool, int]],
) -> None:
    site, compiler = Site(), Compiler()
    now = options(**DECISIONS[6])
    snapshots = [Snapshot()]
    for step, fails, back in edits:
        site.edit(step)
        resources = site.resources()
        previous = snapshots[-1 - min(back, len(snapshots) - 1)]
        if fails:
            with contextlib.suppress(AttributeError):
                compiler.compile(resources, BROKEN, now, previous)
            site.edit(({"ingress a": back}, {}, 6))
            resources = site.resources()
        remembered = compiler.compile(resources, site.answers, now, previous)
        _same(remembered, compile_snapshot(resources, site.answers, now, previous))
        assert diff(previous, remembered.snapshot) == _plain_diff(previous, remembered.snapshot)
        snapshots.append(remembered.snapshot)


@pytest.fixture
def site() -> Site:
    return Site()


def _compiled(compiler: Compiler, site: Site, previous: Snapshot | None = None) -> Compilation:
    return compiler.compile(site.resources(), site.answers, _options(), previous)


def _options() -> CompileOptions:
    return options()


def test_nothing_is_made_again_when_nothing_was_edited(site: Site) -> None:
    compiler = Compiler()
    # Guarded hosts and extra ones are made each time: what was served before tells that they are the same.
    site.edit(({"ingress a": 2, "ingress e": -1, "ingress f": -1}, {}, 0))
    first = _compiled(compiler, site)
    again = _compiled(compiler, site)
    for kind in ("hosts", "pools", "certificates"):
        before, after = getattr(first.snapshot, kind), getattr(again.snapshot, kind)
        assert before
        assert all(after[name] is value for name, value in before.items())
    told = [fault for fault in first.faults if fault.code in {"annotation_unknown", "class_skipped", "service_missing"}]
    assert told
    assert {id(fault) for fault in told} <= {id(fault) for fault in again.faults}


def test_what_an_ingress_is_told_of_a_service_follows_the_services(site: Site) -> None:
    compiler = Compiler()
    site.edit(({"ingress a": 1, "ingress c": 1, "service api": 1}, {}, 0))
    _compiled(compiler, site)
    for number in (-1, 0, 1):
        site.edit(({"service api": number}, {}, 0))
        remembered = _compiled(compiler, site)
        assert {"service_missing"} <= {fault.code for fault in remembered.faults}
        _same(remembered, compile_snapshot(site.resources(), site.answers, _options()))


def test_an_edit_of_one_ingress_makes_its_own_hosts_again(site: Site) -> None:
    compiler = Compiler()
    first = _compiled(compiler, site)
    site.edit(({"ingress b": 2}, {}, 0))
    second = _compiled(compiler, site, first.snapshot)
    changes = diff(first.snapshot, second.snapshot)
    assert set(changes.hosts) == {"b.test", "x.wild.test"}
    assert second.snapshot.hosts["a.test"] is first.snapshot.hosts["a.test"]


def test_hosts_are_those_of_whatever_snapshot_was_served_before(site: Site) -> None:
    compiler = Compiler()
    _compiled(compiler, site, _compiled(compiler, site).snapshot)
    served = compile_snapshot(site.resources(), site.answers, _options()).snapshot
    again = _compiled(compiler, site, served).snapshot
    assert served.hosts
    assert all(again.hosts[name] is host for name, host in served.hosts.items())


def test_a_run_that_fails_leaves_a_compiler_that_works(site: Site) -> None:
    compiler = Compiler()
    first = _compiled(compiler, site)
    site.edit(({"ingress a": 2, "service web": 1}, {}, 0))
    with pytest.raises(AttributeError):
        compiler.compile(site.resources(), BROKEN, _options(), first.snapshot)
    _same(
        _compiled(compiler, site, first.snapshot),
        compile_snapshot(site.resources(), site.answers, _options(), first.snapshot),
    )
