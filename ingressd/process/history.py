"""History: the edits that were applied, for the operator: what each changed and how long it took.

In: snapshots before and after, acknowledgements. Out: at most 100 Reloads, the newest last.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from ingressd.table.route import Route, VirtualHost
from ingressd.table.snapshot import Delta, Snapshot

KEPT = 100

_content = attrgetter(*(each.name for each in dataclasses.fields(Route) if each.name not in {"file", "line"}))
"""What a route does, wherever it is written."""


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """How many routes an edit touched. A route that only moved to another line did not change."""

    added: int = 0
    changed: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Reload:
    """One applied edit."""

    generation: int
    snapshot: int
    applied_at: datetime
    trigger: str
    """What started it: `start`, `edit`, `certificates` or `signal`."""
    routes: RouteChanges
    faults: int
    milliseconds: float
    """From noticing the change to the last worker serving it."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of /api/v1/reloads."""
        return {
            "generation": self.generation,
            "snapshot": self.snapshot,
            "applied_at": isoformat(self.applied_at),
            "trigger": self.trigger,
            "added": self.routes.added,
            "changed": self.routes.changed,
            "removed": self.routes.removed,
            "faults": self.faults,
            "milliseconds": round(self.milliseconds, 1),
        }

    def __str__(self) -> str:
        return (
            f"generation {self.generation} serves after {self.trigger}: {self.routes.added} routes added,"
            f" {self.routes.changed} changed, {self.routes.removed} removed; faults: {self.faults};"
            f" {self.milliseconds:.0f} ms"
        )


class History:
    """The last KEPT reloads."""

    def __init__(self) -> None:
        self._reloads: deque[Reload] = deque(maxlen=KEPT)
        self.total = 0
        """Reloads since this process started."""

    def add(self, reload: Reload) -> None:
        """Note one more."""
        self._reloads.append(reload)
        self.total += 1

    @property
    def last(self) -> Reload | None:
        """The newest."""
        return self._reloads[-1] if self._reloads else None

    def newest_first(self) -> list[dict[str, Any]]:
        """For the API."""
        return [reload.as_dict() for reload in reversed(self._reloads)]


def isoformat(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: 2030-01-31T12:00:00.000Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def route_changes(old: Snapshot, new: Snapshot, delta: Delta) -> RouteChanges:
    """Count what `delta`, the change from `old` to `new`, means in routes."""
    before = {route.id: route for route in _routes(old, delta.hosts)}
    after = {route.id: route for route in _routes(new, delta.hosts)}
    common = before.keys() & after.keys()
    return RouteChanges(
        added=len(after) - len(common),
        changed=sum(1 for route_id in common if not _same(before[route_id], after[route_id])),
        removed=len(before) - len(common),
    )


def _routes(snapshot: Snapshot, hosts: Mapping[str, VirtualHost | None]) -> Iterator[Route]:
    for name in hosts:
        host = snapshot.hosts.get(name)
        if host is not None:
            for route in host.routes:
                yield from route.each()
            if host.default is not None:
                yield host.default
    if snapshot.default is not None:
        yield snapshot.default


def _same(old: Route, new: Route) -> bool:
    return old is new or _content(old) == _content(new)
