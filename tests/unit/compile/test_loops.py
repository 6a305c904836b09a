"""Endpoints that are ports of our own: refused when they come back, or when they are the operator's."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler
from ingressd.compile.options import OwnPort, StreamOptions
from ingressd.discovery.base import Answer, Query
from ingressd.errors import Severity
from ingressd.table.endpoint import Endpoint
from tests.unit.compile.manifests import (
    FILE,
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
)

EVERYWHERE = "0.0.0.0"
HTTP = OwnPort("--http-port", EVERYWHERE, 8080)
ADMIN = OwnPort("--admin-port", "127.0.0.1", 9080)
DNS = OwnPort("--dns-port", "127.0.0.1", 5300, udp=True)
OWN = (HTTP, OwnPort("--https-port", "::", 8443), ADMIN, DNS)
ROUTED = ingress(rules=[rule("a.test", path(service="web"))])


def _node(name: str, node_port: int, endpoints: str, **port: Any) -> tuple[Object, ...]:
    """A Service of the type NodePort, and a slice for each endpoint."""
    ports = [{"port": 80, "nodePort": node_port, **port}]
    return service(name, type="NodePort", ports=ports), *_slices(name, endpoints, **port)


def _web(endpoints: str, **spec: Any) -> tuple[Object, ...]:
    return service("web", **spec), *_slices("web", endpoints)


def _slices(name: str, endpoints: str, **port: Any) -> list[Object]:
    places = [urlsplit(f"//{each.strip()}") for each in endpoints.split(",")]
    return [
        slice_of(name, [str(place.hostname)], name=f"{name}-{index}")
        | {"ports": [{**port, "port": place.port}], "addressType": "IPv6" if "[" in place.netloc else "IPv4"}
        for index, place in enumerate(places)
    ]


def _run(*objects: Object, **changes: Any) -> Compilation:
    return compiled(*objects, streams=StreamOptions(own=OWN, **changes))


def _endpoints(made: Compilation, pool: str = "default/web:80") -> list[str]:
    return [endpoint.key for endpoint in made.snapshot.pools[pool].endpoints]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_node_port_that_is_its_own_endpoint_is_refused(address: str, protocol: str) -> None:
    port = {"port": 80, "nodePort": 30080, "targetPort": 30080, "protocol": protocol}
    written = slice_of("web", [address, "10.0.0.1" if address.startswith("127") else "2001:db8::1"])
    written |= {"ports": [{"port": 30080, "protocol": protocol}], "addressType": "IPv6" if ":" in address else "IPv4"}
    made = _run(service("web", type="NodePort", ports=[port]), written, address="::")
    assert codes(made) == ["endpoint_loops"]
    (fault,) = made.faults
    assert (fault.severity, fault.kind, fault.file) == (Severity.ERROR, "EndpointSlice", FILE)
    assert "is the nodePort of default/web, from where it comes back" in fault.message
    (pool,) = made.snapshot.pools.values()
    assert len(pool.endpoints) == 1


def test_a_service_that_leads_to_nothing_but_itself_says_so() -> None:
    made = _run(*_node("web", 30080, "127.0.0.1:30080"))
    assert _endpoints(made) == []
    assert made.snapshot.pools["default/web:80"].problem == "web leads to nothing but ingressd itself"


def test_an_endpoint_that_discovery_found_is_refused_where_the_service_is_written() -> None:
    named = service("web", annotations={"ingressd.dev/discovery": "dns:web.test"})
    answers = {Query("dns", "web.test", 80): Answer((Endpoint("127.0.0.1", 8080, source="dns"),))}
    (fault,) = compiled(named, ROUTED, answers=answers, streams=StreamOptions(own=OWN)).faults
    assert (fault.code, fault.kind, fault.name) == ("endpoint_loops", "Service", "web")


def test_a_virtual_address_that_is_its_own_endpoint_is_refused() -> None:
    own = _web("127.96.0.9:80", clusterIP="127.96.0.9")
    assert codes(_run(*own, cluster_ips=True)) == ["endpoint_loops"]
    assert codes(_run(*own)) == []


def test_a_port_of_another_service_is_fine_until_it_comes_back() -> None:
    there = _node("a", 30001, "127.0.0.1:30002")
    assert codes(_run(*there, *_node("b", 30002, "10.0.0.1:80"))) == []
    made = _run(*there, *_node("b", 30002, "127.0.0.1:30003, 10.0.0.1:80"), *_node("c", 30003, "127.0.0.1:30001"))
    assert codes(made) == ["endpoint_loops"] * 3
    assert _endpoints(made, "default/b:80") == ["10.0.0.1:80"]


def test_a_long_way_round_is_found_and_a_long_way_that_ends_is_none() -> None:
    chain = [each for n in range(31000, 31200) for each in _node(f"s{n}", n, f"127.0.0.1:{n + 1}")]
    assert codes(_run(*chain)) == []
    assert codes(_run(*chain, *_node("last", 31200, "127.0.0.1:31000"))) == ["endpoint_loops"] * 201


def test_who_leads_into_a_loop_is_not_part_of_it() -> None:
    made = _run(*_node("a", 30001, "127.0.0.1:30002"), *_node("b", 30002, "127.0.0.1:30002, 10.0.0.1:80"))
    assert codes(made) == ["endpoint_loops"]
    assert _endpoints(made, "default/a:80") == ["127.0.0.1:30002"]


def test_the_same_port_for_the_other_protocol_is_somebody_elses() -> None:
    assert codes(_run(*_node("web", 30080, "127.0.0.1:30080", protocol="UDP"))) == ["endpoint_loops"]
    answering = _node("web", 30080, "127.0.0.1:30081", protocol="UDP")
    assert codes(_run(*answering, *_node("other", 30081, "127.0.0.1:30080"))) == []


def test_a_listener_on_one_address_is_not_on_another() -> None:
    at_one = {"address": "127.0.0.5"}
    assert codes(_run(*_node("web", 30080, "127.0.0.1:30080"), **at_one)) == []
    assert codes(_run(*_node("web", 30080, "127.0.0.5:30080"), **at_one)) == ["endpoint_loops"]


def test_other_addresses_of_the_machine_lead_back_as_loopback_does() -> None:
    machine = {"machine": frozenset({"192.0.2.7", "2001:db8::7"})}
    assert codes(_run(*_node("web", 30080, "192.0.2.7:30080"), **machine)) == ["endpoint_loops"]
    assert codes(_run(*_node("web", 30080, "[2001:db8::7]:30080"), address="::", **machine)) == ["endpoint_loops"]
    assert codes(_run(*_web("192.0.2.7:8080"), ROUTED, **machine)) == ["endpoint_loops"]
    assert codes(_run(*_node("web", 30080, "192.0.2.8:30080"), **machine)) == []


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8080", "127.0.0.9:8080", "127.0.0.1:8443", "[::1]:8443"])
def test_a_route_to_the_proxys_own_ports_is_refused(endpoint: str) -> None:
    web = _web(f"{endpoint}, 10.0.0.1:80")
    made = _run(*web, ROUTED)
    assert codes(made) == ["endpoint_loops"]
    assert "ingressd's own --http" in made.faults[0].message
    assert _endpoints(made) == ["10.0.0.1:80"]


def test_a_route_to_a_port_of_a_service_that_leads_to_the_proxy_is_refused() -> None:
    front = _node("front", 30080, "127.0.0.1:8080")
    web = _web("127.0.0.1:30080")
    assert codes(_run(*front)) == [], "a load balancer before the proxy itself"
    assert codes(_run(*front, *web, ROUTED)) == ["endpoint_loops"] * 2
    assert codes(_run(*front, *web, ingress(defaultBackend=backend("web")))) == ["endpoint_loops"] * 2


def test_a_port_that_another_program_has_is_that_program() -> None:
    compiler = Compiler()
    objects = (*_node("web", 30080, "127.0.0.1:30080"), *_node("own", 30081, "127.0.0.1:30081"))
    for held, refused in (({"tcp://0.0.0.0:30080"}, 1), (set(), 2), ({"tcp://0.0.0.0:30080"}, 1)):
        streams = StreamOptions(own=OWN, held=frozenset(held))
        made = compiler.compile(resources(*objects), {}, options(streams=streams))
        assert codes(made) == ["endpoint_loops"] * refused
        assert bool(_endpoints(made)) == bool(held)


def test_nobody_gets_to_the_admin_port_through_a_service() -> None:
    web = _web("127.0.0.1:9080")
    made = _run(*web, ROUTED)
    assert codes(made) == ["endpoint_admin"]
    assert _endpoints(made) == []
    assert codes(_run(*_node("web", 30080, "127.0.0.1:9080"))) == ["endpoint_admin"]
    assert codes(_run(*_node("web", 30080, "127.0.0.2:9080"))) == [], "another address"


def test_the_dns_server_may_have_a_service() -> None:
    assert codes(_run(*_node("dns", 30053, "127.0.0.1:5300", protocol="UDP"))) == []


def test_an_edit_is_judged_as_a_new_start_is() -> None:
    compiler = Compiler()
    good = (*_node("a", 30001, "10.0.0.1:80"), *_node("b", 30002, "127.0.0.1:30001"))
    looping = (*_node("a", 30001, "127.0.0.1:30002"), *good[2:])
    moved = (*_node("a", 30003, "127.0.0.1:30002"), *good[2:])
    for objects in (good, looping, good, moved, good[:2], looping, looping[:2], good):
        made = compiler.compile(resources(*objects), {}, options(streams=StreamOptions(own=OWN)))
        anew = _run(*objects)
        assert made.snapshot.pools == anew.snapshot.pools
        assert made.faults == anew.faults
