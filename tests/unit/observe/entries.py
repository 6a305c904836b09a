"""Requests that have ended, made up."""

from __future__ import annotations

from dataclasses import dataclass

from ingressd.table.route import Route
from tests.support.edge import route

CART = route("shop.example.com", "/cart")


@dataclass
class Ended:
    """An Entry in plain fields: a request that was answered by its upstream, unless told otherwise."""

    started_at: float = 1893499200.25
    duration_s: float = 0.0042
    client_address: str = "203.0.113.7"
    client_port: int = 51234
    scheme: str = "https"
    method: str = "GET"
    target: str = "/cart?id=42"
    version: str = "HTTP/1.1"
    host: str = "shop.example.com"
    authority: str = "shop.example.com:443"
    request_id: str = "4f0e3ac5b1d24c6e"
    status: int = 200
    reason: str = ""
    route: Route | None = CART
    bytes_out: int = 1234
    attempts: int = 1
    upstream_address: str = "10.0.0.12:8080"
    upstream_status: int = 200
    upstream_duration_s: float | None = 0.004
    bytes_in: int = 7
    user: str = ""
    user_agent: str = "curl/8.0"
    referer: str = ""


def unreadable() -> Ended:
    """A request whose head could not be read."""
    return Ended(
        method="",
        target="",
        version="",
        host="",
        authority="",
        status=400,
        reason="bad_request",
        route=None,
        attempts=0,
        upstream_address="",
        upstream_status=0,
        upstream_duration_s=None,
        user_agent="",
    )
