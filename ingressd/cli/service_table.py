"""The tables of `ingressd services`: one line a Service port, or with --live one line an endpoint.

In: rows as /api/v1/services has them. Out: rich tables whose cells are folded, never cut. Each line is whole in itself,
so that it can be searched for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

SHOWN_ENDPOINTS = 3
"""More of them are counted: a table is to be read."""

Row = Mapping[str, Any]

_SERVICE = ("SERVICE", "TYPE", "ADDRESSES", "MODE", "SCHEDULER")
_WRITTEN = ("ENDPOINTS", "PLACE")
_LIVE = (
    *("ENDPOINT", "SOURCE", "STATE", "WEIGHT"),
    *("ACTIVE", "PICKS", "FAILURES", "EJECTIONS", "EJECTED BY", "LATENCY", "CHECK"),
)
_FOUND = frozenset({"slices", "static"})
"""What is known without asking anybody."""


def written_table(rows: Sequence[Row]) -> Table:
    """What manifests say."""
    table = _table(*_SERVICE, *_WRITTEN)
    for row in rows:
        place = f"{row['file']}:{row['line']}" if row["exists"] else ""
        for pool, cells in _ports(row):
            table.add_row(*cells, _told(row) if pool is None else _endpoints(pool), place)
    return table


def live_table(rows: Sequence[Row]) -> Table:
    """What a running ingressd knows."""
    table = _table(*_SERVICE, *_LIVE)
    for row in rows:
        for pool, cells in _ports(row):
            for counted in [(_told(row),)] if pool is None else _counted(pool):
                table.add_row(*cells, *counted)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        # Folded, never cut: what is shown can be copied.
        table.add_column(title, overflow="fold")
    return table


def _ports(row: Row) -> Iterator[tuple[Row | None, tuple[str, ...]]]:
    """The pools of a Service with the cells that they have in common; None when nobody uses any of its ports."""
    if not row["pools"]:
        yield None, (f"{row['namespace']}/{row['name']}", _type(row), _addresses(row, None), "", "")
    for pool in row["pools"]:
        scheduler = f"ClientIP {pool['affinity_s']} s" if pool["affinity_s"] else pool["scheduler"]
        modes = "any" if pool["affinity_s"] else ", ".join(pool["proxy_modes"])
        yield pool, (pool["id"], _type(row), _addresses(row, pool), modes, scheduler)


def _type(row: Row) -> str:
    if not row["exists"]:
        return "missing"
    return "headless" if row["headless"] else str(row["type"])


def _told(row: Row) -> str:
    """Of a Service that no route and no port uses: the addresses that DNS tells."""
    addresses = row["dns_addresses"]
    shown = addresses[:SHOWN_ENDPOINTS]
    if len(addresses) > SHOWN_ENDPOINTS:
        shown = [*shown, f"{len(addresses) - SHOWN_ENDPOINTS} more"]
    return f"{', '.join(shown)} (names only)" if shown else ""


def _addresses(row: Row, pool: Row | None) -> str:
    """What was opened for this pool, and what was not."""
    if row.get("external_name"):
        return f"-> {row['external_name']}"
    return ", ".join(_listener(each) for each in row["listeners"] if pool is None or each["pool"] == pool["id"])


def _listener(listener: Row) -> str:
    address, protocol = listener["address"], listener["protocol"]
    host = f"[{address}]" if ":" in address else address
    kind = "" if protocol == "TCP" else f"/{protocol.lower()}"
    trouble = "" if listener["bound"] else ", not opened"
    return f"{host}:{listener['port']}{kind} ({listener['role']}{trouble})"


def _endpoints(pool: Row) -> str:
    """Where they are, or who is asked for them."""
    found = pool["endpoints"]
    shown = [_endpoint(each) for each in found[:SHOWN_ENDPOINTS]]
    if pool["discovery"] not in _FOUND:
        shown += [f"{pool['discovery']} {target}" for target in pool["targets"]]
    if len(found) > SHOWN_ENDPOINTS:
        shown.append(f"{len(found) - SHOWN_ENDPOINTS} more")
    return ", ".join(shown) or f"none: {pool['problem']}"


def _endpoint(endpoint: Row) -> str:
    words = [endpoint["source"]]
    if endpoint["weight"] != 1:
        words.append(f"weight {endpoint['weight']}")
    if endpoint["state"] != "ready":
        words.append(endpoint["state"])
    return f"{endpoint['endpoint']} ({' '.join(words)})"


def _counted(pool: Row) -> Iterator[tuple[str, ...]]:
    """The endpoints of a pool."""
    of_pool = pool["live"]
    panic = " (panic: all are used)" if of_pool["panic"] else ""
    for endpoint in pool["endpoints"]:
        seen = endpoint["live"]
        ejecting = f"{seen['ejected_by']} of {of_pool['workers']} for {seen['ejected_s']:g} s"
        yield (
            endpoint["endpoint"],
            endpoint["source"],
            f"{endpoint['state']}{panic}",
            *(str(number) for number in (endpoint["weight"], seen["active"], seen["picks"], seen["failures"])),
            str(seen["ejections"]),
            ejecting if seen["ejected_by"] else "",
            "" if seen["latency_ms"] is None else f"{seen['latency_ms']:g} ms",
            "" if seen["check"] is None else seen["check"]["detail"],
        )
    if not pool["endpoints"]:
        yield (f"none: {pool['problem']}",)
