"""fault-*: delay or refuse a share of the requests, to see what clients make of it.

A request may ask for it itself by a field, when the route says which one: then no other request is touched.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site, Verdict
from ingressd.filters.header_values import field_name
from ingressd.filters.values import whole

MOST_DELAY_S = 300.0


def percent(text: str) -> float:
    """0 to 100. Raises ValueError."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise ValueError('a percentage from 0 to 100, as in "12.5"')
    return value


def delay(text: str) -> float:
    """Seconds: `2`, `2s`, `150ms`. Raises ValueError."""
    digits, factor = text.strip(), 1.0
    if digits.endswith("ms"):
        digits, factor = digits[:-2], 0.001
    elif digits.endswith("s"):
        digits = digits[:-1]
    try:
        value = float(digits) * factor
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST_DELAY_S:
        raise ValueError(f'a time up to {MOST_DELAY_S:g} s, as in "2s" or "150ms"')
    return value


@dataclass(frozen=True, slots=True)
class FaultInjection:
    """What happens to which share of the requests."""

    asks: ClassVar[bool] = True

    delay_s: float
    delay_percent: float
    status: int
    """0 = none is refused."""
    abort_percent: float
    header: str
    """Lower case: only requests with this field are touched; empty = all."""

    def __str__(self) -> str:
        parts = [f"{self.delay_s:g} s for {self.delay_percent:g} %"] if self.delay_s else []
        parts += [f"{self.status} for {self.abort_percent:g} %"] if self.status else []
        return f"faults: {', '.join(parts)}"

    def on_request(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """See RequestFilter."""
        if self.header and request.header(self.header) is None:
            return None
        aborts = self.status and random.random() * 100 < self.abort_percent
        verdict = LocalReply(self.status, Reason.FAULT_INJECTED, "a fault was asked for") if aborts else None
        if self.delay_s and random.random() * 100 < self.delay_percent:
            return _later(self.delay_s, verdict)
        return verdict


async def _later(seconds: float, verdict: Verdict) -> Verdict:
    await asyncio.sleep(seconds)
    return verdict


class _Spec(FilterSpec):
    name = "fault-injection"
    annotations = (
        Annotation("fault-delay", delay, "how long requests are held", native=True),
        Annotation("fault-delay-percent", percent, "how many of them", "100", native=True),
        Annotation("fault-abort", whole(400, 599), "the status of requests that are refused", native=True),
        Annotation("fault-abort-percent", percent, "how many of them", "100", native=True),
        Annotation("fault-header", field_name, "only requests with this field", native=True),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        if not values.get("fault-delay") and not values.get("fault-abort"):
            return None
        return FaultInjection(
            delay_s=values.get("fault-delay", 0.0),
            delay_percent=values.get("fault-delay-percent", 100.0),
            status=values.get("fault-abort", 0),
            abort_percent=values.get("fault-abort-percent", 100.0),
            header=values.get("fault-header", "").lower(),
        )


SPEC = _Spec()
