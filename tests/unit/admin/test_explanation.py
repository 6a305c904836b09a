"""What explain says, from the request as a person writes it to what happens next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ingressd.admin.explanation import ask, explain
from ingressd.errors import LocalReply, Reason
from ingressd.routing.table import RoutingTable
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.route import PREFIX, Route, VirtualHost
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
