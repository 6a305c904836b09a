"""Weights from an annotation, and how long a client keeps its endpoint: what a Service says about being picked."""

from __future__ import annotations

import pytest

from ingressd.compile.weights import weighted
from ingressd.discovery.base import Answer, Query
from ingressd.table.endpoint import Endpoint
from tests.unit.compile.manifests import Object, backend, codes, compiled, ingress, service, slice_of

WEB = ingress(defaultBackend=backend())
ONE, OTHER_PORT, SIX = Endpoint("10.0.0.1", 8080, 5), Endpoint("10.0.0.1", 9090), Endpoint("fd00::1", 8080)
ALL = (ONE, OTHER_PORT, SIX)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("10.0.0.1:8080=3", [3, 1, 1]),
        ("10.0.0.1=0", [0, 0, 1]),
        (" 10.0.0.1 = 7 , [fd00::1]:8080=65535", [7, 7, 65_535]),
        ("[fd00:0::1]=2", [5, 1, 2]),
        ("10.0.0.1=2,10.0.0.1:9090=4", [2, 4, 1]),
        ("10.0.0.1:8081=3", [5, 1, 1]),
    ],
)
def test_an_address_or_one_of_its_ports_gets_a_weight(text: str, weights: list[int]) -> None:
    done = weighted(text, ALL)
    assert [each.weight for each in done.endpoints] == weights
    assert [each.key for each in done.endpoints] == [each.key for each in ALL]
    assert (done.mistakes, done.unused) == ((), ())


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("10.0.0.1:8080", "is not ADDRESS:PORT=WEIGHT"),
        ("10.0.0.1:8080=", "is not ADDRESS:PORT=WEIGHT"),
        ("10.0.0.1:8080=-1", "from 0 (no traffic) to 65535"),
        ("10.0.0.1:8080=65536", "from 0 (no traffic) to 65535"),
        ("10.0.0.1:8080=٣", "is not ADDRESS:PORT=WEIGHT"),
        ("10.0.0.1:0=1", "a port is a number from 1 to 65535"),
        ("web:8080=1", "does not begin with an IP address"),
        ("=1", "does not begin with an IP address"),
        ("", "is not ADDRESS:PORT=WEIGHT"),
    ],
)
def test_an_item_that_is_not_understood_is_named_and_the_others_count(item: str, words: str) -> None:
    done = weighted(f"{item}, 10.0.0.1:9090=9", ALL)
    assert [each.weight for each in done.endpoints] == [5, 9, 1]
    assert len(done.mistakes) == 1
    assert words in done.mistakes[0]
    assert repr(item).rpartition("=")[0] in done.mistakes[0]


def test_an_address_that_no_endpoint_has_is_told_unless_there_are_none_yet() -> None:
    assert weighted("10.0.0.9:8080=2", ALL).unused == ("10.0.0.9:8080=2",)
    assert weighted("10.0.0.9:8080=2", ()).unused == ()


def _weighted_service(text: str) -> Object:
    return service(annotations={"ingressd.dev/weights": text})


def test_the_endpoints_of_slices_get_their_weights() -> None:
    compilation = compiled(WEB, _weighted_service("10.0.0.2:8080=3"), slice_of(addresses=["10.0.0.1", "10.0.0.2"]))
    pool = compilation.snapshot.pools["default/web:80"]
    assert {each.address: each.weight for each in pool.endpoints} == {"10.0.0.1": 1, "10.0.0.2": 3}
    assert codes(compilation) == []


def test_the_annotation_counts_before_what_discovery_says() -> None:
    answers = {Query("dns", "web", 80): Answer((Endpoint("10.0.0.1", 80, 8), Endpoint("10.0.0.2", 80, 9)))}
    compilation = compiled(WEB, _weighted_service("10.0.0.2=0"), answers=answers)
    assert [each.weight for each in compilation.snapshot.pools["default/web:80"].endpoints] == [8, 0]


def test_mistakes_are_faults_of_the_service() -> None:
    compilation = compiled(WEB, _weighted_service("heavy, 10.0.0.9=2"), slice_of())
    assert sorted(codes(compilation)) == ["weight_invalid", "weight_unused"]
    assert {fault.name for fault in compilation.faults} == {"web"}
    assert all(fault.line for fault in compilation.faults)


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0),
        ({"sessionAffinity": "None"}, 0),
        ({"sessionAffinity": "ClientIP"}, 10_800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}, 10_800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 60),
        ({"sessionAffinity": "None", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 0),
    ],
)
def test_a_pool_keeps_clients_as_long_as_its_service_says(spec: Object, seconds: int) -> None:
    assert compiled(WEB, service(**spec), slice_of()).snapshot.pools["default/web:80"].affinity_s == seconds
