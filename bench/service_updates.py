"""ServiceUpdates: one edited Service among many, from its file to the workers.

In: ingressd, a stand. Out: figures: from save to served by the whole program, and what a worker needs to take one pool
among as many. No other proxy has Services.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bench.clients.sample import ClientError
from bench.meter import cpu_s, rss_bytes
from bench.peers.base import Running
from bench.peers.ingressd import Ingressd
from bench.process import ADDRESS, StartError
from bench.results import Figure, Gap, Results
from bench.runner import Stand, served
from bench.scenario import Scenario
from ingressd.listener.edge import Edge
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stats import WorkerStats
from ingressd.process.link import Begin, Part
from ingressd.process.transfer import Assembly, full, parts
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.snapshot import Delta, Snapshot, diff

NAME = "service-updates"
SERVICES, QUICK_SERVICES = 50_000, 1_000
EDITS = 5
SERVED_LIMIT_S = 60.0
ENDPOINTS = 3
"""Of each pool that the worker has."""

_LOOK_S = 0.1
"""Seldom: to be asked is work for the controller, too."""


class ServiceUpdates:
    """Runs the study on ingressd."""

    def __init__(self, stand: Stand, results: Results, services: int) -> None:
        self._stand = stand
        self._results = results
        self._services = services

    def run(self) -> None:
        """All rounds. Raises OutOfTimeError."""
        peer = Ingressd()
        for round_ in range(1, self._stand.rounds + 1):
            scenario = Scenario(services=self._services)
            try:
                with served(peer, scenario, self._stand.place(peer.name, workers=1)) as running:
                    self._note(round_, "ready", running.ready_s, "s")
                    self._note(round_, "RSS idle", rss_bytes(running.process.pid) / 2**20, "MiB")
                    self._edits(peer, running, round_)
            except (StartError, ClientError, OSError) as problem:
                self._stand.say(f"  round {round_} {NAME} {peer.name}: {problem}")
                self._results.gaps.append(Gap(NAME, peer.name, f"round {round_}: {problem}"))
                continue
            for took_s in asyncio.run(worker_updates_s(self._services)):
                self._note(round_, "edit, a worker's publish", took_s * 1000, "ms")

    def _edits(self, peer: Ingressd, running: Running, round_: int) -> None:
        for edition in range(1, EDITS + 1):
            save = peer.edit_service(running, edition)
            generation = int(_api(running, "status")["generation"])
            saved_at, cpu_before_s = datetime.now(UTC), cpu_s(running.process.pid)
            save()
            until = time.monotonic() + SERVED_LIMIT_S
            while int(_api(running, "status")["generation"]) == generation:
                if time.monotonic() > until:
                    raise ClientError("an edited Service was not served")
                time.sleep(_LOOK_S)
            newest = _api(running, "reloads")[0]
            took_s = (datetime.fromisoformat(newest["applied_at"]) - saved_at).total_seconds()
            self._note(round_, "edit, save to served", took_s * 1000, "ms")
            self._note(round_, "edit, noticed to served", newest["milliseconds"], "ms")
            self._note(round_, "edit, CPU until served", (cpu_s(running.process.pid) - cpu_before_s) * 1000, "ms")

    def _note(self, round_: int, what: str, value: float, unit: str) -> None:
        name = f"{NAME} ({self._services:,} Services): {what}"
        self._results.figures.append(Figure(name, Ingressd.name, round_, value, unit))
        self._stand.say(f"  round {round_} {name}: {value:.2f} {unit}")


async def worker_updates_s(pools: int) -> list[float]:
    """How long an edge that has so many pools takes for a snapshot in which one of them is another."""
    settings = Settings()
    access_log = AccessLog("off", settings.access_log_format)
    edge = Edge(settings, WorkerStats(), access_log)
    published = Snapshot(generation=1, pools={pool.id: pool for pool in _pools(pools)})
    served, delta = _taken(full(published), Snapshot())
    edge.publish(served, delta)
    took_s = []
    for edition in range(1, EDITS + 1):
        id_ = f"default/s{edition * 7 % pools}:80"
        pool = replace(published.pools[id_], endpoints=(Endpoint("10.255.0.1", 8080 + edition),))
        new = replace(published, generation=1 + edition, pools={**published.pools, id_: pool})
        change = diff(published, new)
        began = time.perf_counter()
        served, delta = _taken(change, served)
        edge.publish(served, delta)
        took_s.append(time.perf_counter() - began)
        published = new
    await edge.release()
    access_log.close()
    return took_s


def _pools(count: int) -> Iterator[Pool]:
    for number in range(count):
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        endpoints = tuple(Endpoint(address, 8080 + each) for each in range(ENDPOINTS))
        name = f"s{number}"
        yield Pool(id=f"default/{name}:80", namespace="default", service=name, port="80", endpoints=endpoints)


def _taken(delta: Delta, served: Snapshot) -> tuple[Snapshot, Delta]:
    """As a worker puts together what comes over its link."""
    assembly: Assembly | None = None
    for message in parts(delta):
        if isinstance(message, Begin):
            assembly = Assembly(message, served)
        elif isinstance(message, Part) and assembly is not None:
            assembly.add(message)
    assert assembly is not None
    return assembly.finish()


def _api(running: Running, name: str) -> Any:
    connection = http.client.HTTPConnection(ADDRESS, running.ports.admin, timeout=SERVED_LIMIT_S)
    try:
        connection.request("GET", f"/api/v1/{name}")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
