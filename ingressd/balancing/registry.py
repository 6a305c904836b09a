"""The schedulers by name, as `--scheduler` and the annotation `ingressd.dev/scheduler` give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ingressd.balancing.base import Scheduler
from ingressd.balancing.round_robin import RoundRobin

SCHEDULERS: dict[str, Callable[[], Scheduler[Any]]] = {
    "rr": RoundRobin,
}
