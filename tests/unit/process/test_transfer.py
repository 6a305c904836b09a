"""A snapshot in parts: it arrives equal, and what did not change is the object that was there before."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from ingressd.process.link import Begin, End, Part
from ingressd.process.transfer import PART_WEIGHT, Assembly, differs, full, parts
from ingressd.table.endpoint import Endpoint
from ingressd.table.policy import DEFAULT_POLICY
from ingressd.table.pool import Pool
from ingressd.table.route import PREFIX, Route, VirtualHost
from ingressd.table.snapshot import Delta, Snapshot, diff


def _route(host: str, path: str = "/") -> Route:
    return Route(f"default/i {host} {path} Prefix", host, path, PREFIX, "default", "i", "p", "s", "80", "a.yaml", 1)


def _snapshot(generation: int, hosts: int, routes: int = 1) -> Snapshot:
    names = [f"h{number}.example" for number in range(hosts)]
    return Snapshot(
        generation=generation,
        hosts={n: VirtualHost(n, tuple(_route(n, f"/{k}") for k in range(routes))) for n in names},
        pools={n: Pool(n, "default", n, "80", (Endpoint("10.0.0.1", 80),)) for n in names},
        default=_route(""),
    )


def _carry(delta: Delta, served: Snapshot) -> tuple[Snapshot, Delta]:
    """Send `delta` through pickle, as the link does."""
    messages = [pickle.loads(pickle.dumps(message)) for message in parts(delta)]
    assert isinstance(messages[0], Begin)
    assert isinstance(messages[-1], End)
    assembly = Assembly(messages[0], served)
    for message in messages[1:-1]:
        assert isinstance(message, Part)
        assembly.add(message)
    return assembly.finish()


def test_a_full_snapshot_arrives_equal() -> None:
    sent = _snapshot(5, hosts=3)
    snapshot, delta = _carry(full(sent), Snapshot())
    assert snapshot == sent
    assert (delta.base, delta.generation) == (0, 5)
    assert set(delta.hosts) == set(sent.hosts)


def test_what_routes_have_in_common_is_one_object_whichever_part_it_came_in() -> None:
    sent = _snapshot(1, hosts=1000)
    snapshot, _ = _carry(full(sent), Snapshot())
    routes = [route for host in snapshot.hosts.values() for route in host.routes]
    assert len({id(route.policy) for route in routes}) == 1
    assert len({id(route.pool) for route in routes}) == 1
    assert snapshot == sent


def test_routes_that_decide_otherwise_keep_what_they_decide() -> None:
    sent = _snapshot(1, hosts=1)
    host = sent.hosts["h0.example"]
    other = replace(host.routes[0], pool="q", policy=replace(DEFAULT_POLICY, tries=1))
    sent = replace(sent, hosts={**sent.hosts, "other.example": VirtualHost("other.example", (other,))})
    snapshot, _ = _carry(full(sent), Snapshot())
    assert snapshot.hosts["other.example"].routes == (other,)
    assert snapshot.hosts["h0.example"].routes == host.routes


def test_a_large_snapshot_goes_in_small_parts() -> None:
    sent = _snapshot(1, hosts=1000, routes=5)
    carried = [message for message in parts(full(sent)) if isinstance(message, Part)]
    assert len(carried) > 20
    weights = [sum(1 + len(host.routes) for host in part.hosts.values() if host) for part in carried]
    assert max(weights) < PART_WEIGHT + 6
    assert _carry(full(sent), Snapshot())[0] == sent


def test_a_host_with_very_many_routes_goes_in_pieces_and_keeps_those_that_stayed() -> None:
    served = _snapshot(1, hosts=2, routes=3 * PART_WEIGHT + 5)
    name = "h1.example"
    routes = (*served.hosts[name].routes[:-1], _route(name, "/last"))
    default = _route(name, "/default")
    hosts = {**served.hosts, name: VirtualHost(name, routes, default, tls=True), "new": VirtualHost("new", routes[:1])}
    new = replace(served, generation=2, hosts=hosts)
    for delta in (diff(served, new), full(new)):
        carried = [message for message in parts(delta) if isinstance(message, Part)]
        assert max(len(host.routes) for part in carried for host in part.hosts.values() if host) <= PART_WEIGHT
        snapshot, changes = _carry(delta, served)
        assert snapshot == new
        assert snapshot.hosts["h0.example"] is served.hosts["h0.example"]
        kept = zip(snapshot.hosts[name].routes[:-1], served.hosts[name].routes[:-1], strict=True)
        assert all(one is other for one, other in kept)
        assert changes == diff(served, snapshot)


def test_what_is_gone_is_gone_after_a_full_snapshot_too() -> None:
    served, new = _snapshot(1, hosts=4), _snapshot(2, hosts=2)
    snapshot, changes = _carry(full(new), served)
    assert snapshot == new
    assert changes == diff(served, snapshot)
    assert changes.hosts == {"h2.example": None, "h3.example": None}


def test_changes_keep_every_other_object() -> None:
    served = _snapshot(1, hosts=3)
    changed = VirtualHost("h1.example", (_route("h1.example", "/new"),))
    hosts = {**served.hosts, "h1.example": changed}
    del hosts["h2.example"]
    snapshot, delta = _carry(diff(served, replace(served, generation=2, hosts=hosts)), served)
    assert snapshot.hosts == {"h0.example": served.hosts["h0.example"], "h1.example": changed}
    assert snapshot.hosts["h0.example"] is served.hosts["h0.example"]
    assert snapshot.pools is served.pools
    assert set(delta.hosts) == {"h1.example", "h2.example"}
    assert delta.hosts["h2.example"] is None


def test_a_full_snapshot_on_top_of_another_changes_only_what_differs() -> None:
    served = _snapshot(7, hosts=3)
    sent = _snapshot(8, hosts=4)
    snapshot, delta = _carry(full(sent), served)
    assert snapshot == sent
    assert snapshot.hosts["h0.example"] is served.hosts["h0.example"]
    assert (delta.base, set(delta.hosts), set(delta.pools)) == (7, {"h3.example"}, {"h3.example"})


def test_an_equal_full_snapshot_changes_nothing() -> None:
    served = _snapshot(7, hosts=2)
    snapshot, delta = _carry(full(_snapshot(9, hosts=2)), served)
    assert snapshot.generation == 9
    assert not differs(served, snapshot, delta)


def test_a_new_default_is_a_difference() -> None:
    served = _snapshot(1, hosts=1)
    new = replace(served, generation=2, default=None)
    assert differs(served, new, diff(served, new))


def test_changes_to_a_snapshot_that_is_not_served_are_refused() -> None:
    with pytest.raises(ValueError, match="changes to snapshot 3, but 1 is served"):
        Assembly(Begin(3, 4, None, None), _snapshot(1, hosts=1))
