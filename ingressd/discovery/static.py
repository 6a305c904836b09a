"""static: the endpoints stand in the question itself.

In: a target such as `10.0.0.1, 10.0.0.2:8080;weight=3, [fd00::1]:80`. Out: one answer. It never knows a network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

from ingressd.discovery.base import Answer, Query
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint

WEIGHT_MAX = 65_535
"""What fits into an SRV record (RFC 2782)."""


class StaticDiscovery:
    """Reads the target; items with a mistake are named, the others are used."""

    def __init__(self, settings: Settings) -> None:
        """No setting changes what a list of addresses means."""

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        """One answer, then the end: it stays true as long as the question is asked."""
        endpoints: dict[str, Endpoint] = {}
        mistakes = []
        for item in query.target.split(","):
            try:
                endpoint = _endpoint(item.strip(), query.port)
            except ValueError as mistake:
                mistakes.append(str(mistake))
                continue
            if endpoint.key in endpoints:
                mistakes.append(f"{endpoint.key} is there twice: remove {item.strip()!r}")
            else:
                endpoints[endpoint.key] = endpoint
        yield Answer(tuple(endpoints.values()), "; ".join(mistakes))


def split_port(text: str) -> tuple[str, int | None]:
    """Host without brackets, and the port if one is given: `web`, `web:80`, `10.0.0.1:80`, `::1`, `[::1]:80`.

    Raises ValueError.
    """
    host, separator, digits = text, "", ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        separator, digits = rest[:1], rest[1:]
        if not bracket or ":" not in host or separator not in ("", ":"):
            raise ValueError(f"{text!r} is not [IPV6-ADDRESS] or [IPV6-ADDRESS]:PORT")
    elif text.count(":") == 1:
        host, separator, digits = text.partition(":")
    if not separator:
        return host, None
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= 65_535:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return host, int(digits)


def _endpoint(item: str, port: int) -> Endpoint:
    """Raises ValueError, which names the item."""
    place, *options = (part.strip() for part in item.split(";"))
    host, own_port = split_port(place)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(
            f"{item!r} does not begin with an IP address: write ADDRESS, ADDRESS:PORT or [IPV6]:PORT"
        ) from None
    if address.version == 6 and not place.startswith("["):
        raise ValueError(f"{item!r}: an IPv6 address stands in brackets, [{address}]")
    weight = 1
    for option in options:
        name, _, digits = option.partition("=")
        if name.strip() != "weight":
            raise ValueError(f"{item!r}: the only option is weight=N, not {option!r}")
        digits = digits.strip()
        if not digits.isascii() or not digits.isdigit() or int(digits) > WEIGHT_MAX:
            raise ValueError(f"{item!r}: a weight is a number from 0 (no traffic) to {WEIGHT_MAX}")
        weight = int(digits)
    return Endpoint(str(address), own_port or port, weight=weight, source="static")
