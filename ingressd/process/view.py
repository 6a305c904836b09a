"""ControllerView: what the admin API may see of the controller. Implements admin.view.View.

In: the reloader and the fleet. Out: JSON shapes and Prometheus text; no key ever.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ingressd import __version__
from ingressd.admin.explanation import ask, explain
from ingressd.collector import paused
from ingressd.naming.server import DnsServer
from ingressd.observe.metrics import ControllerFacts, render
from ingressd.process.control import Start
from ingressd.process.fleet import Fleet
from ingressd.process.health import HealthChecker
from ingressd.process.history import isoformat
from ingressd.process.reload import Reloader
from ingressd.process.service_report import service_report
from ingressd.routing.table import RoutingTable
from ingressd.settings import OFF
from ingressd.table.certificate import Certificate
from ingressd.table.snapshot import Snapshot

Objects = list[dict[str, Any]]


class ControllerView:
    """A read-only look at the reloader and the fleet, at this moment."""

    def __init__(self, start: Start, reloader: Reloader, fleet: Fleet, dns: DnsServer, checker: HealthChecker) -> None:
        self._start = start
        self._reloader = reloader
        self._fleet = fleet
        self._dns = dns
        self._checker = checker
        self._table = RoutingTable(Snapshot())
        self.started = False
        """Every worker has served a snapshot of this controller."""
        self.draining = False
        self.stale = False
        """A kept snapshot is served, because there are no manifests."""

    def ready(self) -> bool:
        """From the first snapshot on every worker until the drain, as long as any worker serves."""
        return self.started and not self.draining and self._fleet.serving > 0

    def condition(self) -> str:
        if self.draining:
            return "draining"
        if not self.started:
            if self._reloader.snapshot is None:
                return "starting: the manifests are being read"
            return f"starting: {self._fleet.serving} of {self._fleet.size} workers serve the first snapshot"
        return "serving" if self._fleet.serving else "no worker serves: they are being restarted"

    def status(self) -> dict[str, Any]:
        reloader, fleet, settings = self._reloader, self._fleet, self._start.settings
        last = reloader.history.last
        ports = {
            "http": settings.http_port,
            "https": settings.https_port,
            "admin": settings.admin_port,
            "dns": settings.dns_port,
        }
        return {
            "generation": reloader.generation,
            "snapshot": fleet.served,
            "applied_at": None if last is None else isoformat(last.applied_at),
            "workers": fleet.serving,
            "faults": 0 if reloader.compilation is None else len(reloader.compilation.faults),
            "stale": self.stale,
            "ready": self.ready(),
            "condition": self.condition(),
            "version": __version__,
            "listeners": {name: port for name, port in ports.items() if port != OFF},
            "processes": {
                "supervisor": self._start.supervisor_pid,
                "controller": os.getpid(),
                "workers": [member.pid for member in fleet.members],
            },
            "reload": None if last is None else last.as_dict(),
        }

    def faults(self) -> Objects:
        compilation = self._reloader.compilation
        return [] if compilation is None else [fault.as_dict() for fault in compilation.faults]

    def routes(self) -> Objects:
        compilation = self._reloader.compilation
        return [] if compilation is None else [route.as_dict() for route in compilation.routes]

    async def services(self) -> Objects:
        """See View. The rows are made in a thread: there may be 50,000."""
        workers = await self._fleet.exports()
        compilation = self._reloader.compilation
        if compilation is None:
            return []
        with paused():
            return await asyncio.to_thread(service_report, compilation, workers, self._checker.statistics())

    def certificates(self) -> Objects:
        snapshot = self._reloader.snapshot
        if snapshot is None:
            return []
        hosts: dict[str, list[str]] = {}
        known: dict[str, Certificate] = {}
        for host, certificate in sorted(snapshot.certificates.items()):
            known[certificate.fingerprint] = certificate
            hosts.setdefault(certificate.fingerprint, []).append(host)
        default = snapshot.default_certificate
        if default is not None:
            known.setdefault(default.fingerprint, default)
        return [
            {
                "fingerprint": fingerprint,
                "origin": certificate.origin,
                "names": list(certificate.names),
                "hosts": hosts.get(fingerprint, []),
                "default": default is not None and default.fingerprint == fingerprint,
                "not_after": isoformat(datetime.fromtimestamp(certificate.not_after, UTC)),
            }
            for fingerprint, certificate in known.items()
        ]

    def reloads(self) -> Objects:
        return self._reloader.history.newest_first()

    def explain(self, url: str, method: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
        snapshot = self._reloader.snapshot or Snapshot()
        if self._table.snapshot is not snapshot:
            self._table = RoutingTable(snapshot)
        return explain(self._table, ask(url, method, headers))

    async def metrics(self) -> bytes:
        """See View. The text is made in a thread: with 10,000 routes it takes a third of a second."""
        workers = await self._fleet.exports()
        departed = list(self._fleet.departed)  # in the same step: nobody is in both, or in neither
        reloader = self._reloader
        compilation, snapshot, last = reloader.compilation, reloader.snapshot, reloader.history.last
        certificates = [] if snapshot is None else [*snapshot.certificates.values()]
        if snapshot is not None and snapshot.default_certificate is not None:
            certificates.append(snapshot.default_certificate)
        facts = ControllerFacts(
            generation=reloader.generation,
            reloads_total=reloader.history.total,
            workers=self._fleet.serving,
            faults=() if compilation is None else [fault.severity for fault in compilation.faults],
            certificates=certificates,
            reloaded_at=None if last is None else last.applied_at.timestamp(),
            reload_s=None if last is None else last.milliseconds / 1000,
            checks=[(each["target"], each["check"], each["healthy"]) for each in self._checker.statistics().values()],
            dns_queries=None if self._start.settings.dns_port == OFF else dict(self._dns.queries),
        )
        return await asyncio.to_thread(render, workers, departed, facts)
