"""What an edit changed, counted in routes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from ingressd.process.history import KEPT, History, Reload, RouteChanges, isoformat, route_changes
from ingressd.table.route import PREFIX, Route, VirtualHost
from ingressd.table.snapshot import Snapshot, diff


def _route(path: str, line: int = 1, pool: str = "p") -> Route:
    return Route(f"default/i a {path} Prefix", "a", path, PREFIX, "default", "i", pool, "s", "80", "a.yaml", line)


def _snapshot(generation: int, *routes: Route) -> Snapshot:
    return Snapshot(generation=generation, hosts={"a": VirtualHost("a", routes)} if routes else {})


def _changes(old: Snapshot, new: Snapshot) -> RouteChanges:
    return route_changes(old, new, diff(old, new))


def _reload(generation: int) -> Reload:
    return Reload(generation, generation, datetime(2030, 1, 31, tzinfo=UTC), "edit", RouteChanges(1, 2, 3), 4, 5.67)


def test_added_changed_and_removed_routes_are_counted() -> None:
    old = _snapshot(1, _route("/stays"), _route("/goes"), _route("/turns"))
    new = _snapshot(2, _route("/stays"), _route("/comes"), _route("/turns", pool="other"))
    assert _changes(old, new) == RouteChanges(added=1, changed=1, removed=1)


def test_a_route_that_moved_to_another_line_did_not_change() -> None:
    assert _changes(_snapshot(1, _route("/", line=1)), _snapshot(2, _route("/", line=9))) == RouteChanges()


def test_a_host_that_vanishes_takes_its_routes_with_it() -> None:
    assert _changes(_snapshot(1, _route("/a"), _route("/b")), _snapshot(2)) == RouteChanges(removed=2)


def test_defaults_are_routes_too() -> None:
    old = Snapshot(1, default=_route("/"))
    assert _changes(old, Snapshot(2)) == RouteChanges(removed=1)
    assert _changes(Snapshot(1), replace(old, generation=2)) == RouteChanges(added=1)


def test_the_newest_reload_comes_first_and_the_oldest_goes() -> None:
    history = History()
    assert history.last is None
    for generation in range(1, KEPT + 3):
        history.add(_reload(generation))
    shown = history.newest_first()
    assert [shown[0]["generation"], shown[-1]["generation"], len(shown)] == [KEPT + 2, 3, KEPT]
    assert history.total == KEPT + 2


def test_a_reload_is_one_line_and_one_object() -> None:
    assert str(_reload(7)) == ("generation 7 serves after edit: 1 routes added, 2 changed, 3 removed; faults: 4; 6 ms")
    assert _reload(7).as_dict() == {
        "generation": 7,
        "snapshot": 7,
        "applied_at": "2030-01-31T00:00:00.000Z",
        "trigger": "edit",
        "added": 1,
        "changed": 2,
        "removed": 3,
        "faults": 4,
        "milliseconds": 5.7,
    }


def test_times_are_in_utc() -> None:
    assert isoformat(datetime(2030, 1, 31, 2, tzinfo=timezone(timedelta(hours=2)))) == "2030-01-31T00:00:00.000Z"
