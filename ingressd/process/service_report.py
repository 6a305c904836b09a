"""What /api/v1/services shows: the Services of a compilation with what workers count and health checks know.

In: a Compilation, the workers' exports, the checks' statistics. Out: rows of JSON. Pure, and made in a thread; what
only a running program knows is below `live`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ingressd.compile.compilation import Compilation
from ingressd.compile.service_row import ServiceRow
from ingressd.naming.zone import Zone
from ingressd.observe.pool_sums import EndpointSum, PoolSum, WorkerPools, pool_sums
from ingressd.process.history import isoformat
from ingressd.table.health import HealthTarget, target_of
from ingressd.table.pool import Pool

Checks = Mapping[HealthTarget, Mapping[str, Any]]
"""HealthChecker.statistics()."""

READY = "ready"
EJECTED = "ejected"


def service_rows(compilation: Compilation) -> list[dict[str, Any]]:
    """All Services by namespace and name, as manifests have them, with the addresses that DNS tells."""
    return [row for _, row in _rows(compilation)]


def service_report(compilation: Compilation, workers: Iterable[WorkerPools], checks: Checks) -> list[dict[str, Any]]:
    """The same with `live` in each pool and endpoint. Counters are those of the workers that live."""
    sums = pool_sums(workers)
    rows = []
    for service, row in _rows(compilation):
        for pool, shown in zip(service.pools, row["pools"], strict=True):
            _enliven(shown, pool, sums.get(pool.id) or PoolSum(), checks)
        rows.append(row)
    return rows


def _rows(compilation: Compilation) -> Iterator[tuple[ServiceRow, dict[str, Any]]]:
    zone = Zone(compilation, compilation.domain)
    for service in compilation.services:
        node = zone.node((service.name, service.namespace, "svc"))
        yield service, {**service.as_dict(), "dns_addresses": [] if node is None else list(node.addresses)}


def _enliven(shown: dict[str, Any], pool: Pool, total: PoolSum, checks: Checks) -> None:
    shown["live"] = total.as_dict()
    for endpoint, row in zip(pool.endpoints, shown["endpoints"], strict=True):
        seen = total.endpoints.get(endpoint.key) or EndpointSum()
        row["live"] = seen.as_dict()
        if seen.ejecting and row["state"] == READY:
            row["state"] = EJECTED
        known = None if pool.check is None else checks.get(target_of(endpoint, pool.check))
        row["live"]["check"] = None if known is None else _checked(known)


def _checked(known: Mapping[str, Any]) -> dict[str, Any]:
    at = known["checked_at"]
    return {
        "detail": known["detail"],
        "streak": known["streak"],
        "took_ms": known["took_ms"],
        "checked_at": isoformat(datetime.fromtimestamp(at, UTC)) if at else None,
    }
