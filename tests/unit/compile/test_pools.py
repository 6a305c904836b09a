"""Pools: one for each port that routes name, what discovery is asked and answers, what an ExternalName may reach."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from ingressd.compile.service_names import NEAR_NAMES, ServiceNames
from ingressd.discovery.base import Answer, Query
from ingressd.settings import Limits
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from tests.unit.compile.manifests import (
    Object,
    backend,
    codes,
    compiled,
    ingress,
    path,
    rule,
    service,
    slice_of,
)

WEB = ingress(defaultBackend=backend())
ASKED = Query("dns", "web", 80)
ONE, TWO = Endpoint("10.0.0.1", 80, source="dns"), Endpoint("10.0.0.2", 80, source="dns")


def _pool(*objects: Object, **changes: Any) -> Pool:
    return compiled(WEB, *objects, **changes).snapshot.pools["default/web:80"]


def test_a_port_has_one_pool_however_many_routes_use_it() -> None:
    paths = [path(f"/{number}") for number in range(50)]
    compilation = compiled(
        ingress("a", rules=[rule("a.test", *paths)]), ingress("b", rules=[rule("b.test", *paths)]), service()
    )
    assert list(compilation.snapshot.pools) == ["default/web:80"]
    assert compilation.queries == {ASKED}


def test_a_port_by_name_and_by_number_has_the_same_endpoints_under_two_names() -> None:
    ports = [{"name": "http", "port": 80}]
    rules = [rule("a.test", path("/a"), path("/b", port="http"))]
    compilation = compiled(ingress(rules=rules), service(ports=ports), slice_of())
    by_number, by_name = (compilation.snapshot.pools[f"default/web:{port}"] for port in ("80", "http"))
    assert by_number.endpoints == by_name.endpoints != ()


def test_a_service_that_no_route_names_has_no_pool_and_asks_nothing() -> None:
    compilation = compiled(WEB, service(), service("other"))
    assert list(compilation.snapshot.pools) == ["default/web:80"]
    assert compilation.queries == {ASKED}


def test_a_mistake_of_a_service_is_told_once_however_many_routes_use_it() -> None:
    paths = [path(f"/{number}") for number in range(20)]
    wrong = service(annotations={"ingressd.dev/scheduler": "fastest"}, ports=[{"port": 80, "appProtocol": "grpc"}])
    compilation = compiled(ingress(rules=[rule("a.test", *paths)]), wrong)
    assert sorted(codes(compilation)) == ["app_protocol_unsupported", "scheduler_unknown"]


def test_every_backend_that_names_a_missing_service_is_told_about_where_it_stands() -> None:
    compilation = compiled(ingress(rules=[rule("a.test", path("/a"), path("/b"))]))
    assert codes(compilation) == ["service_missing"] * 2
    assert len({fault.column for fault in compilation.faults}) == 2


def test_a_pool_has_the_limits_and_the_scheduler_of_the_operator() -> None:
    pool = _pool(service(), limits=Limits(connect_s=1.5), scheduler="wrr")
    assert (pool.connect_s, pool.scheduler) == (1.5, "wrr")
    assert _pool(service(annotations={"ingressd.dev/scheduler": "rr"}), scheduler="wrr").scheduler == "rr"


# What discovery is asked, and answers.


def test_a_question_waits_for_its_answer() -> None:
    compilation = compiled(WEB, service())
    assert compilation.queries == {ASKED}
    assert compilation.asked == {"default/web:80": (ASKED,)}
    assert compilation.snapshot.pools["default/web:80"].problem == "dns has not answered yet for web"
    assert compilation.faults == ()


def test_an_answer_becomes_endpoints_without_doubles() -> None:
    pool = _pool(service(), answers={ASKED: Answer((ONE, TWO, ONE))})
    assert (pool.endpoints, pool.problem) == ((ONE, TWO), "")


def test_the_last_good_endpoints_of_an_answer_are_used_and_its_problem_is_told() -> None:
    compilation = compiled(WEB, service(), answers={ASKED: Answer((ONE,), "no name server answers")})
    pool = compilation.snapshot.pools["default/web:80"]
    assert (pool.endpoints, pool.problem) == ((ONE,), "")
    assert codes(compilation) == ["discovery_failed"]


def test_an_answer_without_endpoints_and_without_a_problem_is_no_endpoint() -> None:
    compilation = compiled(WEB, service(), answers={ASKED: Answer()})
    assert compilation.snapshot.pools["default/web:80"].problem == "no endpoint is ready"
    assert compilation.faults == ()


def test_answers_to_other_questions_change_nothing() -> None:
    other = {Query("dns", "web", 81): Answer((ONE,)), Query("static", "web", 80): Answer((ONE,))}
    assert _pool(service(), answers=other) == _pool(service())


def test_two_services_that_ask_the_same_share_the_question() -> None:
    same = {"ingressd.dev/discovery": "dns:app.internal"}
    rules = [rule("a.test", path("/a", "a"), path("/b", "b"))]
    compilation = compiled(ingress(rules=rules), service("a", annotations=same), service("b", annotations=same))
    assert compilation.queries == {Query("dns", "app.internal", 80)}
    assert len(compilation.asked) == 2


@pytest.mark.parametrize(
    ("annotations", "query"),
    [
        ({}, Query("consul", "web", 8080)),
        ({"ingressd.dev/discovery": "dns"}, Query("dns", "web", 8080)),
        ({"ingressd.dev/discovery": " dns : app "}, Query("dns", "app", 8080)),
        ({"ingressd.dev/discovery": "static:[::1]:80"}, Query("static", "[::1]:80", 8080)),
        ({"ingressd.dev/discovery": "static", "ingressd.dev/endpoints": "10.0.0.1"}, Query("static", "10.0.0.1", 8080)),
        ({"ingressd.dev/endpoints": "10.0.0.1"}, Query("static", "10.0.0.1", 8080)),
        ({"ingressd.dev/discovery": "dns", "ingressd.dev/endpoints": "10.0.0.1"}, Query("dns", "web", 8080)),
        ({"ingressd.dev/discovery": " off "}, None),
    ],
)
def test_the_annotations_of_a_service_come_before_the_settings(
    annotations: dict[str, str], query: Query | None
) -> None:
    ports = [{"port": 80, "targetPort": 8080}]
    compilation = compiled(WEB, service(annotations=annotations, ports=ports), discovery="consul")
    assert compilation.queries == (set() if query is None else {query})


# What an ExternalName may not reach, and what nobody may.

EXTERNAL = service(type="ExternalName", externalName="api.example.com", ports=[])
QUERY = Query("dns", "api.example.com", 80)
METADATA = ("169.254.169.254", "fe80::1", "fd00:ec2::254", "168.63.129.16", "0.0.0.0", "64:ff9b::a9fe:a9fe")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", *METADATA])
def test_an_external_name_reaches_no_loopback_no_link_local_and_no_metadata_address(address: str) -> None:
    compilation = compiled(WEB, EXTERNAL, answers={QUERY: Answer((Endpoint(address, 80), ONE))})
    assert compilation.snapshot.pools["default/web:80"].endpoints == (ONE,)
    assert codes(compilation) == ["external_name_refused"]


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize(
    "annotations",
    [{}, {"ingressd.dev/discovery": "dns:api.example.com"}, {"ingressd.dev/endpoints": "10.0.0.9"}],
    ids=["its own name", "dns", "static"],
)
def test_no_answer_of_discovery_leads_to_a_metadata_service(annotations: dict[str, str], address: str) -> None:
    asking = compiled(WEB, service(annotations=annotations))
    (query,) = asking.queries
    answers = {query: Answer((Endpoint(address, 80), ONE))}
    compilation = compiled(WEB, service(annotations=annotations), answers=answers)
    assert compilation.snapshot.pools["default/web:80"].endpoints == (ONE,)
    assert codes(compilation) == ["address_refused"]
    allowed = _pool(service(annotations=annotations), answers=answers, external_name_allow=(address,))
    assert len(allowed.endpoints) == 2


def test_a_slice_of_names_leads_to_no_metadata_service() -> None:
    named = {**slice_of(addresses=["api.example.com"]), "addressType": "FQDN"}
    answers = {Query("dns", "api.example.com", 8080): Answer((Endpoint("169.254.169.254", 8080),))}
    compilation = compiled(WEB, service(), named, answers=answers)
    pool = compilation.snapshot.pools["default/web:80"]
    assert (pool.endpoints, pool.problem) == ((), "api.example.com leads only to addresses that it may not reach")
    assert codes(compilation) == ["address_refused"]


def test_a_written_address_that_is_refused_is_named_where_it_stands_and_the_others_are_used() -> None:
    written = slice_of(addresses=["10.0.0.1", "169.254.169.254"])
    compilation = compiled(WEB, service(), written)
    assert [each.address for each in compilation.snapshot.pools["default/web:80"].endpoints] == ["10.0.0.1"]
    (fault,) = compilation.faults
    assert (fault.code, fault.kind, fault.severity) == ("address_refused", "EndpointSlice", "error")
    assert fault.hint == "if you mean it: --external-name-allow 169.254.169.254"
    alone = compiled(WEB, service(), slice_of(addresses=["169.254.169.254"])).snapshot.pools["default/web:80"]
    assert alone.problem == "web leads only to addresses that it may not reach"


def test_many_refused_addresses_are_looked_for_once() -> None:
    def steps(count: int) -> int:
        """Addresses that are read to make the Pool and to name all of them."""
        addresses = [f"169.254.{number // 250}.{number % 250}" for number in range(count)]
        calls = 0

        def tally(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event == "call" and frame.f_code.co_name == "ip_address"

        sys.setprofile(tally)
        try:
            compilation = compiled(WEB, service(), slice_of(addresses=addresses))
        finally:
            sys.setprofile(None)
        assert codes(compilation) == ["address_refused"] * count
        return calls

    assert steps(200) < 3 * steps(100)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:169.254.169.254"])
def test_what_is_allowed_by_the_operator_is_reached(address: str) -> None:
    answers = {QUERY: Answer((Endpoint(address, 80),))}
    networks = ("127.0.0.0/8", "169.254.169.254/32", "::1/128", "fe80::/64")
    assert _pool(EXTERNAL, answers=answers, external_name_allow=networks).endpoints
    refused = _pool(EXTERNAL, answers=answers, external_name_allow=("10.0.0.0/8",))
    assert refused.endpoints == ()
    assert refused.problem == "api.example.com leads only to addresses that it may not reach"


def test_loopback_addresses_of_other_services_are_not_refused() -> None:
    local = Answer((Endpoint("127.0.0.1", 80),))
    assert _pool(service(), answers={ASKED: local}).endpoints == local.endpoints
    assert _pool(service(), slice_of(addresses=["127.0.0.1"])).endpoints[0].key == "127.0.0.1:8080"


def test_an_external_name_with_slices_that_lack_its_port_is_told_about() -> None:
    named = {**slice_of(), "ports": [{"name": "http", "port": 8080}]}
    compilation = compiled(WEB, EXTERNAL, named)
    assert codes(compilation) == ["slice_port_missing"]


# What may have been meant by the name of a missing Service.


def test_a_hint_prefers_a_similar_name_to_another_namespace() -> None:
    names = ServiceNames([("shop", "cart"), ("pay", "crat"), ("ops", "billing"), ("net", "billing")])
    assert names.hint("shop", "crat", by_ingress=True) == "did you mean cart?"
    assert names.hint("shop", "billing", by_ingress=False) == "there is one in the namespace net"
    assert names.hint("shop", "quite-another", by_ingress=True) == "add a Service quite-another in the namespace shop"


def test_similar_names_are_looked_for_a_limited_number_of_times() -> None:
    paths = [path(f"/{number:02}", f"crat{number:02}") for number in range(NEAR_NAMES + 1)]
    hints = [fault.hint for fault in compiled(ingress(rules=[rule("a.test", *paths)]), service("crat")).faults]
    assert hints == ["did you mean crat?"] * NEAR_NAMES + [f"add a Service crat{NEAR_NAMES} in the namespace default"]
