"""What explain says, from the request as a person writes it to what happens next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from ingressd.admin.explanation import ask, explain
from ingressd.errors import LocalReply, Reason
from ingressd.routing.conditions import HEADER, All, Canary, Decided, Field, Share
from ingressd.routing.table import RoutingTable
from ingressd.table.endpoint import Endpoint
from ingressd.table.policy import RoutePolicy
from ingressd.table.pool import Pool
from ingressd.table.route import PREFIX, Alternative, Route, VirtualHost
from ingressd.table.snapshot import Snapshot

CART = Route(
    "shop/web shop.localhost /cart Prefix", "shop.localhost", "/cart", PREFIX, "shop", "web", "shop/web:80", "web",
    "80", "shop.yaml", 9,
)  # fmt: skip
POOL = Pool("shop/web:80", "shop", "web", "80", (Endpoint("10.0.0.1", 8080), Endpoint("fd00::1", 8080)))


class ToHttps:
    """A filter that redirects http."""

    def on_request(self, request: Any) -> LocalReply | None:
        if request.scheme == "https":
            return None
        return LocalReply(308, Reason.REDIRECT, headers=((b"Location", f"https://{request.host}".encode()),))


def _table(route: Route = CART, pool: Pool = POOL) -> RoutingTable:
    return RoutingTable(Snapshot(1, {route.host: VirtualHost(route.host, (route,))}, {pool.id: pool}))


def _explain(table: RoutingTable, url: str) -> dict[str, Any]:
    return explain(table, ask(url, "GET", ()))


def test_the_winner_its_pool_and_its_endpoints_are_named() -> None:
    answer = _explain(_table(), "http://SHOP.localhost:8080//cart/%31?x=1")
    assert (answer["host"], answer["path"], answer["route"]) == ("shop.localhost", "/cart/1", CART.id)
    assert answer["outcome"] == {
        "action": "proxy",
        "pool": "shop/web:80",
        "scheduler": "rr",
        "affinity_s": 0,
        "tls": False,
        "endpoints": ["10.0.0.1:8080", "[fd00::1]:8080"],
    }
    assert answer["routes"][0]["outcome"] == "won"
    assert (answer["routes"][0]["file"], answer["routes"][0]["line"]) == ("shop.yaml", 9)


def test_a_miss_says_why_each_candidate_lost() -> None:
    answer = _explain(_table(), "shop.localhost/cartoon")
    assert answer["route"] is None
    assert (answer["outcome"]["status"], answer["outcome"]["reason"]) == (404, "no_route")
    assert answer["routes"][0]["outcome"] == "missed"
    assert answer["hosts"][0]["name"] == "shop.localhost"


def test_a_denied_route_says_why() -> None:
    outcome = _explain(_table(replace(CART, denied="allowlist: 10.0.0.0/99 is no network")), "shop.localhost/cart")
    assert outcome["outcome"] == {
        "action": "local_reply",
        "status": 503,
        "reason": "policy_invalid",
        "detail": "allowlist: 10.0.0.0/99 is no network",
    }


def test_a_pool_without_endpoints_says_why() -> None:
    pool = replace(POOL, endpoints=(), problem="Service shop/web does not exist")
    outcome = _explain(_table(pool=pool), "shop.localhost/cart")["outcome"]
    assert (outcome["status"], outcome["reason"]) == (503, "no_endpoints")
    assert outcome["detail"] == "Service shop/web does not exist"


def test_a_filter_that_answers_is_run() -> None:
    table = _table(replace(CART, filters=(ToHttps(),)))
    outcome = _explain(table, "http://shop.localhost/cart")["outcome"]
    assert (outcome["status"], outcome["headers"]) == (308, {"Location": "https://shop.localhost"})
    assert _explain(table, "https://shop.localhost/cart")["outcome"]["action"] == "proxy"


def test_a_host_header_beats_the_url() -> None:
    assert ask("http://127.0.0.1:8080/cart", "GET", [("hOsT", "shop.localhost:1")]).host == "shop.localhost"


@pytest.mark.parametrize("url", ["ftp://shop.localhost/", "http://", "http://a b/", "http://a/%zz", "http://é/", ""])
def test_what_is_no_url_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(ValueError, match=r"would be refused|not ASCII"):
        ask(url, "GET", ())


@dataclass(frozen=True)
class Asks:
    """A filter that cannot be run here: whoever does gets what no test expects."""

    asks: ClassVar[bool] = True

    def __str__(self) -> str:
        return "asks somebody"

    def on_request(self, request: Any) -> None:
        raise AssertionError(request)


@dataclass(frozen=True)
class Changes:
    """A filter that sends the request elsewhere."""

    def __str__(self) -> str:
        return "changes"

    def on_request(self, request: Any) -> None:
        request.rewrite("/new?a=b")
        request.set_upstream_host("inside.test")
        request.set_header("X-Team", "red")
        request.remove_header("X-Debug")


@dataclass(frozen=True)
class Signs:
    """A filter of responses."""

    def __str__(self) -> str:
        return "signs"


def test_the_filters_are_told_in_their_order_and_those_that_ask_somebody_are_not_run() -> None:
    table = _table(replace(CART, filters=(Asks(), Changes()), response_filters=(Signs(),)))
    answer = _explain(table, "http://shop.localhost/cart")
    assert answer["filters"] == [
        {"filter": "asks somebody", "does": "asks"},
        {"filter": "changes", "does": "passes"},
    ]
    assert answer["response_filters"] == ["signs"]
    assert answer["outcome"]["action"] == "proxy"


def test_a_filter_behind_one_that_answers_is_not_reached() -> None:
    answer = _explain(_table(replace(CART, filters=(ToHttps(), Changes()))), "http://shop.localhost/cart")
    assert [each["does"] for each in answer["filters"]] == ["answers", "not reached"]
    assert answer["sent"] is None


def test_what_filters_make_of_target_host_and_fields_is_told() -> None:
    table = _table(replace(CART, filters=(Changes(),)))
    question = ask("http://shop.localhost/cart?x=1", "GET", [("X-Debug", "1"), ("X-Other", "2")])
    assert explain(table, question)["sent"] == {
        "target": "/new?a=b",
        "host": "inside.test",
        "set": [{"name": "X-Team", "value": "red"}],
        "removed": ["X-Debug"],
    }


def test_without_filters_the_endpoint_gets_what_was_asked_for() -> None:
    sent = _explain(_table(), "http://shop.localhost:8080/cart?x=1")["sent"]
    assert sent == {"target": "/cart?x=1", "host": "shop.localhost:8080", "set": [], "removed": []}


def test_the_policy_of_the_route_is_told() -> None:
    policy = RoutePolicy(connect_s=2.0, tries=1, retry_statuses=frozenset({503, 502}))
    told = _explain(_table(replace(CART, policy=policy)), "http://shop.localhost/cart")["policy"]
    assert (told["connect_s"], told["tries"], told["retry_statuses"]) == (2.0, 1, [502, 503])
    assert _explain(_table(), "http://shop.localhost/other")["policy"] is None


def test_a_header_leads_to_the_alternative_that_wants_it_and_chance_decides_nothing() -> None:
    beta = replace(CART, id="beta", pool="shop/beta:80")
    some = replace(CART, id="some", pool="shop/some:80")
    route = replace(
        CART,
        alternatives=(
            Alternative(All((Field(HEADER, "x-env", "beta"),)), beta),
            Alternative(Share(Decided(Canary(weight=99))), some),
        ),
    )
    plain = _explain(_table(route), "http://shop.localhost/cart")
    assert plain["route"] == CART.id
    assert plain["alternatives"] == [
        {
            "route": "beta",
            "pool": "shop/beta:80",
            "condition": "header x-env=beta",
            "by_chance": False,
            "taken": False,
        },
        {
            "route": "some",
            "pool": "shop/some:80",
            "condition": "canary: 99 of 100 requests",
            "by_chance": True,
            "taken": False,
        },
    ]
    asked = explain(_table(route), ask("http://shop.localhost/cart", "GET", [("X-Env", "beta")]))
    assert asked["route"] == "beta"
    assert [each["taken"] for each in asked["alternatives"]] == [True, False]
