"""What a worker exports of a pool: upstream.registry.PoolState.statistics()."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def endpoint(key: str, **numbers: Any) -> dict[str, Any]:
    """One endpoint that has not met anything, but for `numbers`."""
    return {
        "endpoint": key,
        "active": 0,
        "idle": 0,
        "picks": 0,
        "connects": 0,
        "failures": 0,
        "latency_ms": 0.0,
        "healthy": True,
        "ejected_s": 0.0,
        "ejections": 0,
        **numbers,
    }


def pool(name: str, *endpoints: Mapping[str, Any], **states: Any) -> dict[str, Any]:
    """One pool with nothing under way, but for `states`."""
    return {
        "pool": name,
        "scheduler": "rr",
        "panic": False,
        "dialing": 0,
        "retrying": 0,
        "breaker": None,
        "endpoints": list(endpoints),
        **states,
    }
