"""Who serves: the endpoints of a pool that its scheduler may pick, with their weights.

In: the table's word on health, the worker's ejections. Out: a mapping for Scheduler.update, and whether it is panic: so
few are healthy that the few would not live long under the load of all, or that the check itself is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ingressd.table.pool import Pool
from ingressd.upstream.endpoint import EndpointState
from ingressd.upstream.outlier import Outliers

PERCENT = 100


class Serving(NamedTuple):
    """Endpoints with their weights."""

    weights: Mapping[EndpointState, int]
    panic: bool


def serving(endpoints: Sequence[EndpointState], pool: Pool, outliers: Outliers | None) -> Serving:
    """Those of `pool` that have a weight, are healthy and are not ejected.

    All of a weight, if fewer than the panic threshold are healthy; ejected ones too, if fewer would be left else.
    """
    able = [(state, endpoint) for state, endpoint in zip(endpoints, pool.endpoints, strict=True) if endpoint.weight]
    healthy = [(state, endpoint) for state, endpoint in able if endpoint.healthy]
    panic = _too_few(len(healthy), len(able), pool.panic_percent)
    chosen = able if panic else healthy
    if outliers is not None and outliers.any_ejected:
        rest = [(state, endpoint) for state, endpoint in chosen if not outliers.is_ejected(state)]
        if rest and not _too_few(len(rest), len(able), pool.panic_percent):
            chosen = rest
    return Serving({state: endpoint.weight for state, endpoint in chosen}, panic)


def _too_few(left: int, count: int, percent: int) -> bool:
    return left * PERCENT < count * percent
