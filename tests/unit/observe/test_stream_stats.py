"""Counters at layer 4: by Service port, adding up over workers, bounded in number."""

from __future__ import annotations

import pytest

from ingressd.observe import stream_stats
from ingressd.observe.stream_stats import OTHER, Labels, Meter, Numbers, StreamStats, add_streams
from ingressd.table.stream import CLUSTER_IP, NODE_PORT, TCP, StreamListener


def _listener(service: str, role: str = NODE_PORT) -> StreamListener:
    return StreamListener(TCP, "127.0.0.1", 1, "p", "default", service, "80", role)


def test_listeners_of_one_service_port_are_counted_together() -> None:
    stats = StreamStats()
    one, other = stats.of(_listener("web")), stats.of(_listener("web", CLUSTER_IP))
    one.began()
    other.began()
    meter = Meter(one)
    meter.read(3, 5)
    meter.read(10, 5)
    one.ended()
    other.failures += 1
    assert stats.export() == {("default", "web", "80", "TCP"): (2, 1, 10, 5, 1)}


def test_exports_of_workers_add_up() -> None:
    total: dict[Labels, Numbers] = {}
    for more in ({("a", "b", "1", "TCP"): (1, 2, 3, 4, 5)}, {("a", "b", "1", "TCP"): (10, 20, 30, 40, 50)}, {}):
        add_streams(total, more)
    assert total == {("a", "b", "1", "TCP"): (11, 22, 33, 44, 55)}


def test_what_is_beyond_the_bound_is_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_stats, "SERIES", 1)
    stats = StreamStats()
    for service in ("web", "more", "most", "web"):
        stats.of(_listener(service)).began()
    assert stats.export() == {("default", "web", "80", "TCP"): (2, 2, 0, 0, 0), OTHER: (2, 2, 0, 0, 0)}


def test_what_was_never_used_is_not_exported() -> None:
    stats = StreamStats()
    stats.of(_listener("web"))
    assert stats.export() == {}
