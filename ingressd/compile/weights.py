"""Weights of endpoints, from the annotation `ingressd.dev/weights: "10.0.0.1:8080=3, 10.0.0.2=0"` of a Service.

In: the annotation's text, the endpoints of one port. Out: the endpoints with their weights, and what is wrong with the
text, in words. What it names counts before what discovery says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ingressd.discovery.static import WEIGHT_MAX, split_port
from ingressd.table.endpoint import Endpoint

WEIGHTS_ANNOTATION = "ingressd.dev/weights"


class _Weight(NamedTuple):
    address: str
    port: int | None
    """None = any port."""
    weight: int
    item: str


class Weighted(NamedTuple):
    """Endpoints, and the parts of the annotation that cannot be followed."""

    endpoints: tuple[Endpoint, ...]
    mistakes: tuple[str, ...] = ()
    """Items that are not understood: the others count."""
    unused: tuple[str, ...] = ()
    """Addresses that no endpoint has."""


def weighted(text: str, endpoints: Sequence[Endpoint]) -> Weighted:
    """The endpoints with the weights that `text` gives them. The last item for an endpoint counts."""
    weights: list[_Weight] = []
    mistakes: list[str] = []
    for item in text.split(","):
        try:
            weights.append(_weight(item.strip()))
        except ValueError as mistake:
            mistakes.append(str(mistake))
    chosen = tuple(_with_weight(endpoint, weights) for endpoint in endpoints)
    addresses = {endpoint.address for endpoint in endpoints}
    # A port is not compared: each port of a Service has its own endpoints, and this may name those of another one.
    unused = tuple(weight.item for weight in weights if weight.address not in addresses)
    return Weighted(chosen, tuple(mistakes), unused if endpoints else ())


def _with_weight(endpoint: Endpoint, weights: Iterable[_Weight]) -> Endpoint:
    for address, port, weight, _ in weights:
        if address == endpoint.address and port in (None, endpoint.port):
            endpoint = replace(endpoint, weight=weight)
    return endpoint


def _weight(item: str) -> _Weight:
    """Raises ValueError, which names the item."""
    place, equals, digits = (part.strip() for part in item.rpartition("="))
    if not equals or not digits.isascii() or not digits.isdigit() or int(digits) > WEIGHT_MAX:
        raise ValueError(f"{item!r} is not ADDRESS:PORT=WEIGHT, with a weight from 0 (no traffic) to {WEIGHT_MAX}")
    host, port = split_port(place)
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(
            f"{item!r} does not begin with an IP address: write ADDRESS, ADDRESS:PORT or [IPV6]:PORT"
        ) from None
    return _Weight(address, port, int(digits), item)
