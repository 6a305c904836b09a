"""The endpoints that are written down: against a reference that asks for each endpoint by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.slices import NamedAddress, endpoints_of, slices_of, target_number, unused
from ingressd.model.service import ServicePort
from tests.unit.compile.manifests import Object, codes, compiled, resources, service, slice_of

tristate = st.sampled_from([None, True, False])
conditions = st.fixed_dictionaries({}, optional={"ready": tristate, "serving": tristate, "terminating": tristate})
endpoint = st.tuples(st.integers(1, 6), conditions)
slices = st.lists(st.lists(endpoint, max_size=4), max_size=3)


def _slice(number: int, endpoints: list[tuple[int, dict[str, bool | None]]]) -> Object:
    written = slice_of(name=f"web-{number}")
    written["endpoints"] = [
        {"addresses": [f"10.0.0.{last}", "192.0.2.9"], "conditions": {k: v for k, v in each.items() if v is not None}}
        for last, each in endpoints
    ]
    return written


def _keys(*objects: Object, port: int = 0) -> list[str]:
    read = resources(*objects)
    web = read.services["default", "web"].object
    written = slices_of(read.slices.get(("default", "web"), ()), web, web.spec.ports[port])
    return [each.key for each in written.endpoints]


@settings(deadline=None)
@given(slices, st.booleans())
def test_the_union_holds_what_is_ready_else_what_still_serves_while_it_terminates(
    written: list[list[tuple[int, dict[str, bool | None]]]], publish: bool
) -> None:
    every = [each for endpoints in written for each in endpoints]
    ready = {last for last, each in every if publish or each.get("ready") is not False}
    leaving = {last for last, each in every if each.get("terminating") is True and each.get("serving") is not False}
    objects = [_slice(number, endpoints) for number, endpoints in enumerate(written)]
    keys = _keys(service(publishNotReadyAddresses=publish), *objects)
    assert len(keys) == len(set(keys))
    assert set(keys) == {f"10.0.0.{last}:8080" for last in ready or leaving}


@settings(deadline=None)
@given(slices)
def test_endpoints_keep_the_order_in_which_they_are_written(
    written: list[list[tuple[int, dict[str, bool | None]]]],
) -> None:
    ready = [last for endpoints in written for last, each in endpoints if each.get("ready") is not False]
    keys = _keys(service(), *(_slice(number, endpoints) for number, endpoints in enumerate(written)))
    if ready:
        assert keys == [f"10.0.0.{last}:8080" for last in dict.fromkeys(ready)]


def test_a_zone_and_the_end_of_an_endpoint_are_kept() -> None:
    written = slice_of()
    written["endpoints"] = [{"addresses": ["10.0.0.1"], "zone": "a", "conditions": {"terminating": True}}]
    read = resources(service(), written)
    web = read.services["default", "web"].object
    (only,) = slices_of(read.slices["default", "web"], web, web.spec.ports[0]).endpoints
    assert (only.zone, only.terminating, only.weight, only.source) == ("a", True, 1, "slices")


def test_a_name_is_given_once_without_its_dot() -> None:
    written = slice_of()
    written |= {"addressType": "FQDN", "endpoints": [{"addresses": ["db.internal."]}, {"addresses": ["db.internal"]}]}
    read = resources(service(), written)
    web = read.services["default", "web"].object
    found = slices_of(read.slices["default", "web"], web, web.spec.ports[0])
    assert found.names == (NamedAddress("db.internal", 8080),)
    assert found.endpoints == ()


TWO_PORTS = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81, "targetPort": "admin"}]


@pytest.mark.parametrize(
    ("service_ports", "slice_ports", "keys", "found", "guessed"),
    [
        ([{"port": 80}], [{"port": 8080}], ["10.0.0.1:8080"], True, False),
        ([{"port": 80}], [{"name": "", "port": 8080}], ["10.0.0.1:8080"], True, False),
        ([{"name": "http", "port": 80}], [{"port": 8080}], ["10.0.0.1:8080"], True, False),
        ([{"port": 80}], [{"name": "http", "port": 8080}], [], False, False),
        (TWO_PORTS, [{"port": 8080}], [], False, False),
        (TWO_PORTS, [{"name": "admin", "port": 1}, {"name": "http", "port": 2}], ["10.0.0.1:2"], True, False),
        (TWO_PORTS, [], ["10.0.0.1:8080"], True, False),
        (TWO_PORTS[::-1], [], ["10.0.0.1:81"], True, True),
        (TWO_PORTS[::-1], [{"name": "admin"}], ["10.0.0.1:81"], True, True),
        (TWO_PORTS[::-1], [{"name": "admin", "port": 9000}], ["10.0.0.1:9000"], True, False),
        ([{"port": 80}], [{"port": 8080, "protocol": "UDP"}], [], False, False),
        ([{"port": 80}], [{"port": 1, "protocol": "SCTP"}, {"name": "x", "port": 2}], [], False, False),
    ],
)
def test_ports_are_joined_by_name_and_protocol(
    service_ports: list[Any], slice_ports: list[Any], keys: list[str], *, found: bool, guessed: bool
) -> None:
    read = resources(service(ports=service_ports), {**slice_of(), "ports": slice_ports})
    web = read.services["default", "web"].object
    written = slices_of(read.slices["default", "web"], web, web.spec.ports[0])
    assert [each.key for each in written.endpoints] == keys
    assert (written.port_found, written.port_guessed) == (found, guessed)


@pytest.mark.parametrize(
    ("port", "number"),
    [
        (ServicePort(port=80), 80),
        (ServicePort(port=80, targetPort=8080), 8080),
        (ServicePort(port=80, targetPort="http"), 80),
    ],
)
def test_without_slices_the_target_port_counts_and_else_the_port(port: ServicePort, number: int) -> None:
    assert target_number(port) == number


def _endpoints(subsets: list[Any], **spec: Any) -> list[str]:
    written = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": subsets}
    read = resources(service(**spec), written)
    web = read.services["default", "web"].object
    return [each.key for each in endpoints_of(read.endpoints["default", "web"].object, web, web.spec.ports[0])]


def test_endpoints_are_addresses_times_ports_without_doubles() -> None:
    addresses = [{"ip": "10.0.0.1"}, {"ip": "2001:DB8::1"}, {"ip": "2001:db8:0::1"}]
    waiting = [{"ip": "10.0.0.9"}]
    subsets = [{"addresses": addresses, "notReadyAddresses": waiting, "ports": [{"port": 80}]}]
    assert _endpoints(subsets) == ["10.0.0.1:80", "[2001:db8::1]:80"]
    assert _endpoints(subsets, publishNotReadyAddresses=True)[2:] == ["10.0.0.9:80"]


def test_endpoints_ports_are_joined_by_name_and_protocol() -> None:
    subsets = [
        {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "admin", "port": 1}, {"name": "http", "port": 2}]},
        {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "http", "port": 3, "protocol": "UDP"}]},
        {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 4}]},
    ]
    assert _endpoints(subsets, ports=[{"name": "http", "port": 80}]) == ["10.0.0.1:2", "10.0.0.3:4"]
    assert _endpoints(subsets, ports=TWO_PORTS) == ["10.0.0.1:2"]


def test_endpoints_that_nobody_uses_are_named() -> None:
    lost: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "wbe"}}
    faults = list(unused(resources(service(), slice_of(), slice_of(namespace="other", name="o"), lost)))
    assert [(fault.kind, fault.namespace, fault.code) for fault in faults] == [
        ("EndpointSlice", "other", "endpoints_unused"),
        ("Endpoints", "default", "endpoints_unused"),
    ]


zones = st.sampled_from(["a", "b", "c"])
hinted = st.tuples(st.booleans(), zones, st.lists(zones, max_size=2, unique=True))


@given(st.lists(hinted, max_size=4), st.sampled_from([None, "PreferClose", "PreferSameZone", "PreferSameNode"]))
def test_what_is_meant_for_our_zone_comes_before_what_is_in_it_and_that_before_the_rest(
    written: list[tuple[bool, str, list[str]]], distribution: str | None
) -> None:
    slice_ = slice_of()
    slice_["endpoints"] = [
        {
            "addresses": [f"10.0.0.{number}"],
            "zone": zone,
            "conditions": {"ready": ready},
            "hints": {"forZones": [{"name": each} for each in names]},
        }
        for number, (ready, zone, names) in enumerate(written)
    ]
    read = resources(service(trafficDistribution=distribution), slice_)
    web = read.services["default", "web"].object
    ready = [(number, zone, names) for number, (is_ready, zone, names) in enumerate(written) if is_ready]
    meant = [number for number, _, names in ready if "a" in names and all(names for _, _, names in ready)]
    inside = [number for number, zone, _ in ready if zone == "a" and distribution]
    expected = meant or inside or [number for number, _, _ in ready]
    found = slices_of(read.slices["default", "web"], web, web.spec.ports[0], "a")
    assert [each.address for each in found.endpoints] == [f"10.0.0.{number}" for number in expected]
    everywhere = slices_of(read.slices["default", "web"], web, web.spec.ports[0])
    assert len(everywhere.endpoints) == len(ready)


def test_a_service_that_is_written_wrongly_is_not_missing() -> None:
    wrong = service("web", sessionAffinity="clientip")
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": []}
    assert codes(compiled(wrong, slice_of("web"), endpoints)) == ["field_invalid"]
