"""limit-rps, limit-rpm, limit-connections and their kin: how much one client may ask of a route.

In: requests. Out: 503 (or 429) with Retry-After for those above a limit; in a dry run they are only counted. The
limits are those of an Ingress and hold for all workers together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ingressd.errors import LocalReply, Reason
from ingressd.filters.address_ranges import AddressRanges, among
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site
from ingressd.filters.values import boolean, choice, whole

BURST = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds."""

    requests: int
    period_s: int
    burst: int
    """What may come at once beyond one."""
    cost_s: float = field(init=False, repr=False, compare=False, default=0.0)
    """What one request uses."""
    suffix: str = field(init=False, repr=False, compare=False, default="")
    """What the keys of its buckets end with."""
    room_s: float = field(init=False, repr=False, compare=False, default=0.0)
    """What all of those that may come at once use."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cost_s", self.period_s / self.requests)
        object.__setattr__(self, "suffix", f" {self.period_s}")
        object.__setattr__(self, "room_s", (self.burst + 1) * self.cost_s)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one Ingress."""

    asks: ClassVar[bool] = True

    owner: str
    """`NAMESPACE/INGRESS`: all of its routes share the counts."""
    connections: int
    """Requests at one time; 0 = no bound."""
    rates: tuple[Rate, ...]
    exempt: tuple[AddressRanges, ...]
    status: int
    dry_run: bool

    def __str__(self) -> str:
        parts = [f"{self.connections} at a time"] if self.connections else []
        parts += [f"{rate.requests} in {rate.period_s} s (burst {rate.burst})" for rate in self.rates]
        return f"limits a client to {', '.join(parts)}{', dry run' if self.dry_run else ''}"

    def on_request(self, request: Request) -> LocalReply | None:
        """`status` for a request above one of the limits."""
        client = request.client_address
        if self.exempt and among(self.exempt, client):
            return None
        buckets = request.services.buckets
        now = time.monotonic()
        key = f"{self.owner} {client}"
        if self.connections and not buckets.enter(key, self.connections, now):
            return self._refused(request, 1.0)
        for number, rate in enumerate(self.rates):
            wait_s = buckets.take(key + rate.suffix, rate.cost_s, rate.room_s, now)
            if wait_s:
                for taken in self.rates[:number]:
                    buckets.give_back(key + taken.suffix, taken.cost_s, now)
                if self.connections:
                    buckets.leave(key, now)
                return self._refused(request, wait_s)
        if self.connections:
            request.at_end(_Leave(buckets.leave, key))
        return None

    def _refused(self, request: Request, wait_s: float) -> LocalReply | None:
        if self.dry_run:
            request.services.count("limit_dry_run")
            return None
        retry_after = str(max(1, math.ceil(wait_s))).encode("ascii")
        return LocalReply(
            self.status,
            Reason.RATE_LIMITED,
            "too many requests of this client",
            headers=((b"Retry-After", retry_after),),
        )


@dataclass(frozen=True, slots=True)
class _Leave:
    """What happens when a request that was counted has ended."""

    leave: Callable[[str, float], None]
    key: str

    def __call__(self) -> None:
        self.leave(self.key, time.monotonic())


class _Spec(FilterSpec):
    name = "limits"
    annotations = (
        Annotation("limit-connections", whole(), "requests of one client at one time; 0 is no bound", "0"),
        Annotation(
            "limit-rps",
            whole(),
            "requests of one client in a second; 0 is no bound",
            "0",
            note="For all workers together.",
        ),
        Annotation(
            "limit-rpm",
            whole(),
            "requests of one client in a minute; 0 is no bound",
            "0",
            note="For all workers together.",
        ),
        Annotation("limit-burst-multiplier", whole(1, 10_000), "times the rate, what may come at once", str(BURST)),
        Annotation("limit-allowlist", AddressRanges.parse, "clients without limits", ""),
        Annotation("limit-whitelist", AddressRanges.parse, "the older name of limit-allowlist", ""),
        Annotation("limit-status", choice("503", "429"), "status above a limit", "as --limit-status", native=True),
        Annotation("limit-dry-run", boolean, "count what would be refused, and let it pass", "false", native=True),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        multiplier = values.get("limit-burst-multiplier", BURST)
        rates = tuple(
            Rate(requests, period_s, requests * multiplier)
            for name, period_s in (("limit-rpm", 60), ("limit-rps", 1))
            if (requests := values.get(name))
        )
        connections = values.get("limit-connections", 0)
        if not rates and not connections:
            return None
        return Limits(
            owner=f"{site.namespace}/{site.ingress}",
            connections=connections,
            rates=rates,
            exempt=tuple(values[name] for name in ("limit-allowlist", "limit-whitelist") if name in values),
            status=int(values.get("limit-status", site.limit_status)),
            dry_run=values.get("limit-dry-run", False),
        )


SPEC = _Spec()
