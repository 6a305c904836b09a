"""Virtual addresses: one for each Service, none twice, and the same ones tomorrow."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.cluster_ips import cluster_ips
from ingressd.model.origin import Origin
from ingressd.model.resource import Resource
from ingressd.model.service import Service

NETWORK = ipaddress.IPv4Network("127.96.0.0/16")
SMALL = ipaddress.IPv4Network("127.96.0.0/28")
ROOM = 13
"""Addresses of the small network that a Service can have."""

Addresses = dict[tuple[str, str], str]


def _service(
    name: str, written: str | None = None, *, namespace: str = "default", created: str | None = None, kind: str = ""
) -> Resource[Service]:
    object_ = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": {"type": kind or "ClusterIP", "clusterIP": written},
    }
    return Resource(Service.model_validate(object_), Origin("web.yaml", 1, ""))


def _given(
    *services: Resource[Service],
    network: ipaddress.IPv4Network = NETWORK,
    previous: Mapping[tuple[str, str], str] | None = None,
) -> Addresses:
    return cluster_ips(services, network, previous or {})


names = st.sampled_from([f"s{number}" for number in range(20)])
written = st.none() | st.just("") | st.integers(0, 40).map(lambda number: f"127.96.0.{number}")
many = st.dictionaries(names, written, max_size=18)


@settings(deadline=None)
@given(many, many)
def test_addresses_are_unique_within_the_network_and_nobody_is_left_out_while_there_is_room(
    before: dict[str, str | None], now: dict[str, str | None]
) -> None:
    previous = _given(*(_service(*each) for each in before.items()), network=SMALL)
    given = _given(*(_service(*each) for each in now.items()), network=SMALL, previous=previous)
    allowed = {f"127.96.0.{number}" for number in range(2, 15)}
    assert len(set(given.values())) == len(given) == min(len(now), ROOM)
    assert set(given.values()) <= allowed
    wishes = {address for address in now.values() if address in allowed}
    assert {address for (_, name), address in given.items() if now[name] == address} == wishes


@settings(deadline=None)
@given(many, many)
def test_an_edit_moves_no_address_unless_somebody_writes_it(
    before: dict[str, str | None], now: dict[str, str | None]
) -> None:
    previous = _given(*(_service(*each) for each in before.items()), network=SMALL)
    given = _given(*(_service(*each) for each in now.items()), network=SMALL, previous=previous)
    wishes = set(now.values())
    for name, address in previous.items():
        if name[1] in now and not now[name[1]] and address not in wishes:
            assert given[name] == address


@settings(deadline=None)
@given(many, st.randoms(use_true_random=False))
def test_the_order_of_the_files_does_not_matter(services: dict[str, str | None], random: Random) -> None:
    every = [_service(*each) for each in services.items()]
    shuffled = list(every)
    random.shuffle(shuffled)
    assert _given(*every, network=SMALL) == _given(*shuffled, network=SMALL)


def test_an_address_is_the_same_in_every_process() -> None:
    assert _given(_service("web")) == {("default", "web"): "127.96.4.101"}


def test_the_namespace_counts() -> None:
    given = _given(_service("web"), _service("web", namespace="shop"))
    assert len(set(given.values())) == 2


def test_a_written_address_is_kept() -> None:
    assert _given(_service("web", "127.96.1.1")) == {("default", "web"): "127.96.1.1"}


@pytest.mark.parametrize("address", ["10.0.0.1", "127.96.0.0", "127.96.0.1", "127.96.255.255", "::1", "nonsense", ""])
def test_a_written_address_that_cannot_be_is_not_taken(address: str) -> None:
    given = _given(_service("web", address))
    assert given == _given(_service("web"))


def test_of_two_with_the_same_address_the_first_by_name_has_it() -> None:
    given = _given(_service("b", "127.96.1.1"), _service("a", "127.96.1.1"))
    assert given["default", "a"] == "127.96.1.1"
    assert given["default", "b"] == _given(_service("b"))["default", "b"]


def test_of_two_with_the_same_address_the_older_has_it() -> None:
    old = _service("b", "127.96.1.1", created="2020-01-01T00:00:00Z")
    young = _service("a", "127.96.1.1", created="2021-01-01T00:00:00Z")
    assert _given(young, _service("0", "127.96.1.1"), old)["default", "b"] == "127.96.1.1"


def test_a_written_address_takes_it_from_who_had_it_by_chance() -> None:
    previous = _given(_service("web"))
    given = _given(_service("web"), _service("shop", previous["default", "web"]), previous=previous)
    assert given["default", "shop"] == previous["default", "web"]
    assert given["default", "web"] != previous["default", "web"]


def test_headless_services_and_external_names_have_none() -> None:
    assert _given(_service("headless", "None"), _service("elsewhere", kind="ExternalName")) == {}


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_services_with_more_than_a_cluster_ip_have_one_too(kind: str) -> None:
    assert len(_given(_service("web", kind=kind))) == 1


@pytest.mark.parametrize("prefix", [30, 31, 32])
def test_a_network_without_room_gives_none_but_what_it_has(prefix: int) -> None:
    network = ipaddress.IPv4Network(f"127.96.0.0/{prefix}")
    given = _given(_service("a"), _service("b"), network=network)
    assert list(given.values()) == ["127.96.0.2"] * (prefix == 30)


def test_another_network_moves_everybody() -> None:
    previous = _given(_service("web"))
    other = ipaddress.IPv4Network("127.97.0.0/16")
    assert ipaddress.ip_address(_given(_service("web"), network=other, previous=previous)["default", "web"]) in other


def test_a_network_fills_up_to_its_last_address() -> None:
    network = ipaddress.IPv4Network("127.96.0.0/20")
    given = _given(*(_service(f"s{number}") for number in range(4096)), network=network)
    assert len(set(given.values())) == len(given) == 4093
