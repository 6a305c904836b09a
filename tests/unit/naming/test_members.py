"""Who answers for a Service: from slices, Endpoints and discovery, each address once."""

from __future__ import annotations

import errno
import ipaddress
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.compile.options import StreamOptions
from ingressd.compile.port_faults import PortProblem
from ingressd.discovery.base import Answer, Query
from ingressd.naming.members import Member, dashed, members
from ingressd.naming.zone import Zone
from ingressd.table.endpoint import Endpoint
from tests.unit.compile.manifests import Object, backend, compiled, ingress, path, resources, rule, service, slice_of
from tests.unit.naming.zones import BOTH, DOMAIN, NAMED, ask, slice_with, told, zone


def _members(*objects: Object, found: tuple[Endpoint, ...] = ()) -> list[tuple[str, str, list[str]]]:
    """Label, address, and ports as `name/protocol:number`."""
    read = resources(*objects)
    web = read.services["default", "web"].object
    key = ("default", "web")
    discovered = ((web.spec.ports[0], each) for each in found)
    return [_shown(each) for each in members(web, read.slices.get(key, ()), read.endpoints.get(key), discovered)]


def _shown(member: Member) -> tuple[str, str, list[str]]:
    return member.label, member.address, [f"{port.name}/{port.protocol}:{port.number}" for port in member.ports]


def _endpoints(*subsets: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": list(subsets)}


@given(st.ip_addresses().map(str))
def test_every_address_makes_a_label(address: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", dashed(str(ipaddress.ip_address(address))))


@given(st.ip_addresses(v=4).map(str), st.ip_addresses(v=4).map(str))
def test_different_addresses_make_different_labels(one: str, other: str) -> None:
    assert (dashed(one) == dashed(other)) == (one == other)


def test_labels_of_addresses_that_end_in_colons() -> None:
    assert [dashed(each) for each in ("::1", "fe80::", "::", "10.0.0.1")] == ["0--1", "fe80--0", "0--0", "10-0-0-1"]


def test_slices_are_joined_by_address() -> None:
    one = slice_with([{"addresses": ["10.0.0.1"]}], name="a", ports=[{"name": "http", "port": 8080}])
    other = slice_with(
        [{"addresses": ["10.0.0.1"], "hostname": "one"}, {"addresses": ["10.0.0.2"]}],
        name="b",
        ports=[{"name": "http", "port": 8081}, {"name": "dns", "port": 5353, "protocol": "UDP"}],
    )
    assert _members(service(ports=NAMED), one, other) == [
        ("one", "10.0.0.1", ["http/tcp:8080", "http/tcp:8081", "dns/udp:5353"]),
        ("10-0-0-2", "10.0.0.2", ["http/tcp:8081", "dns/udp:5353"]),
    ]


def test_a_slice_without_ports_has_those_of_the_service() -> None:
    open_ = slice_with([{"addresses": ["10.0.0.1"]}], ports=[])
    assert _members(service(ports=NAMED), open_) == [("10-0-0-1", "10.0.0.1", ["http/tcp:8080", "dns/udp:53"])]


def test_a_service_without_ports_has_members() -> None:
    headless = service(clusterIP="None", ports=[])
    assert _members(headless, slice_of()) == [("10-0-0-1", "10.0.0.1", [])]


def test_addresses_are_spelled_in_one_way() -> None:
    six = slice_with([{"addresses": ["2001:DB8:0::1"]}, {"addresses": ["2001:db8::1"]}], addressType="IPv6")
    assert [address for _, address, _ in _members(service(ports=NAMED), six)] == ["2001:db8::1"]


@pytest.mark.parametrize("publish", [False, True])
def test_endpoints_of_the_older_kind_have_hostnames_too(publish: bool) -> None:
    subset = {
        "addresses": [{"ip": "10.0.0.1", "hostname": "one"}],
        "notReadyAddresses": [{"ip": "10.0.0.2"}],
        "ports": BOTH,
    }
    found = _members(service(ports=NAMED, publishNotReadyAddresses=publish), _endpoints(subset))
    ports = ["http/tcp:8080", "dns/udp:5353"]
    assert found == [("one", "10.0.0.1", ports), *([("10-0-0-2", "10.0.0.2", ports)] if publish else [])]


def test_what_is_written_comes_before_what_is_found() -> None:
    found = (Endpoint("10.9.9.9", 1, source="dns"),)
    older = _endpoints({"addresses": [{"ip": "10.0.0.2"}], "ports": BOTH})
    assert [each[1] for each in _members(service(ports=NAMED), slice_of(), older, found=found)] == ["10.0.0.1"]
    assert [each[1] for each in _members(service(ports=NAMED), older, found=found)] == ["10.0.0.2"]
    assert _members(service(ports=NAMED), found=found) == [("10-9-9-9", "10.9.9.9", ["http/tcp:1"])]
    names = slice_with([{"addresses": ["app.test"]}], addressType="FQDN")
    assert _members(service(ports=NAMED), names, found=found) == [("10-9-9-9", "10.9.9.9", ["http/tcp:1"])]


ROUTED = ingress(rules=[rule("a.test", path(service="web", port="http"))])
ANSWERS = {Query("dns", "web", 8080): Answer((Endpoint("10.9.9.9", 8080, source="dns"),))}


def test_endpoints_that_discovery_found_for_a_route_are_told() -> None:
    known = zone(service(ports=NAMED), ROUTED, answers=ANSWERS)
    assert told(ask(known, "web.default.svc")) == ["A 10.9.9.9"]
    assert told(ask(known, "_http._tcp.web.default.svc", "SRV")) == [
        "SRV 0 100 8080 10-9-9-9.web.default.svc.cluster.local."
    ]
    assert told(ask(known, "9.9.9.10.in-addr.arpa.", "PTR")) == ["PTR 10-9-9-9.web.default.svc.cluster.local."]


def test_a_service_that_nobody_asked_discovery_about_has_no_addresses() -> None:
    assert told(ask(zone(service(ports=NAMED)), "web.default.svc")) == []


def test_an_ingress_backend_by_number_is_the_same_port() -> None:
    by_number = ingress(defaultBackend=backend("web", 80))
    known = zone(service(ports=NAMED), by_number, answers=ANSWERS)
    assert told(ask(known, "_http._tcp.web.default.svc", "SRV")) != []


def test_addresses_that_must_not_be_reached_are_not_told() -> None:
    objects = (
        service(ports=NAMED, clusterIP="None"),
        slice_with([{"addresses": ["169.254.169.254"], "hostname": "secret"}, {"addresses": ["10.0.0.1"]}]),
        slice_with([{"addresses": ["fe80::1"]}], name="six", addressType="IPv6"),
    )
    known = zone(*objects)
    assert told(ask(known, "web.default.svc")) == ["A 10.0.0.1"]
    assert told(ask(known, "web.default.svc", "AAAA")) == []
    assert told(ask(known, "secret.web.default.svc")) == ["NXDOMAIN"]
    assert len(told(ask(known, "_http._tcp.web.default.svc", "SRV"))) == 1
    assert told(ask(known, "254.169.254.169.in-addr.arpa.", "PTR")) == ["REFUSED"]
    allowed = zone(*objects, allow=("169.254.169.254/32",))
    assert told(ask(allowed, "web.default.svc")) == ["A 10.0.0.1", "A 169.254.169.254"]


def test_a_virtual_address_on_which_nothing_listens_is_not_told() -> None:
    # There are descriptors for one listener only.
    objects = [each for name in ("a", "b") for each in (service(name, ports=NAMED[:1]), slice_of(name))]
    known = zone(*objects, cluster_ips=True, most_cluster_listeners=1)
    (address,) = told(ask(known, "a.default.svc"))
    assert address.startswith("A 127.96.")
    assert told(ask(known, "b.default.svc")) == ["A 10.0.0.1"]
    # The system refuses to open it.
    made = compiled(*objects, streams=StreamOptions(cluster_ips=True))
    (key,) = (key for key, listener in made.snapshot.streams.items() if listener.service == "a")
    known = Zone(made.with_problems({key: PortProblem(errno.EACCES)}), DOMAIN)
    assert told(ask(known, "a.default.svc")) == ["A 10.0.0.1"]
    (address,) = told(ask(known, "b.default.svc"))
    assert address.startswith("A 127.96.")


def test_a_full_network_leaves_the_rest_with_their_endpoints() -> None:
    objects = [each for number in range(6) for each in (service(f"s{number}"), slice_of(f"s{number}"))]
    known = zone(*objects, cluster_ips=True, cluster_cidr="127.96.0.0/29")
    addresses = [told(ask(known, f"s{number}.default.svc")) for number in range(6)]
    assert sorted(addresses) == [["A 10.0.0.1"], *([f"A 127.96.0.{last}"] for last in range(2, 7))]
