"""HAProxy: one thread, master-worker mode, routes in a map that is looked up by host and path.

In: a scenario. Out: haproxy.cfg, its map, and certificate and key in one file.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.peers.base import DESCRIPTORS, IDLE_S, Peer, Place, Ports, Running, said_version, write_files
from bench.process import ADDRESS
from bench.scenario import Scenario

LOG_FORMAT = (
    '{"time":"%t","client":"%ci","method":"%HM","host":"%[var(txn.host)]","path":"%HU","protocol":"%HV","status":%ST,'
    '"bytes_in":%U,"bytes_out":%B,"duration_ms":%Ta,"request_id":"%ID","upstream":"%b/%s","upstream_ms":%Tr,'
    '"user_agent":"%[capture.req.hdr(0),json(utf8s)]","referer":"%[capture.req.hdr(1),json(utf8s)]"}'
)


class HAProxy(Peer):
    """HAProxy of the distribution."""

    name = "haproxy"

    def program(self) -> str | None:
        return shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

    def version(self) -> str:
        return said_version([self.program() or self.name, "-v"], r"version (\S+)")

    def files(self, scenario: Scenario, place: Place, ports: Ports) -> dict[str, str]:
        files = {"haproxy.cfg": _config(scenario, place, ports), "routes.map": "".join(_map(scenario))}
        if scenario.tls:
            files["both.pem"] = place.certificate.read_text() + place.key.read_text()
        return files

    def command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        return [self.program() or self.name, "-W", "-f", str(place.folder / "haproxy.cfg")]

    def output(self, scenario: Scenario, place: Place) -> Path:
        """Its access log is its standard output, as in a container."""
        return place.access_log if scenario.access_log else super().output(scenario, place)

    def edit(self, running: Running, edition: int) -> Callable[[], None]:
        files = self.changed_files(running, edition)

        def save() -> None:
            write_files(running.place.folder, files)
            running.process.signal(signal.SIGUSR2)

        return save


def _config(scenario: Scenario, place: Place, ports: Ports) -> str:
    tls = (
        f"\n    bind {ADDRESS}:{ports.https} backlog 4096 ssl crt {place.folder}/both.pem alpn h2,http/1.1"
        if scenario.tls
        else ""
    )
    log = (
        f"""
    log stdout len 4096 format raw local0 info
    log-format '{LOG_FORMAT}'"""
        if scenario.access_log
        else ""
    )
    return f"""\
global
    nbthread {scenario.workers}
    maxconn {DESCRIPTORS // 2 - 500}
    ssl-default-bind-options ssl-min-ver TLSv1.2
    hard-stop-after 30s
    stats socket {place.folder}/admin.sock mode 600 level admin

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive {IDLE_S}s
    timeout tunnel 1h
    option http-keep-alive
    http-reuse always

frontend edge
    bind {ADDRESS}:{ports.http} backlog 4096{tls}{log}
    unique-id-format %[uuid()]
    unique-id-header X-Request-ID
    http-request set-var(txn.host) req.hdr(host),field(1,:),lower
    http-request set-var(txn.path) path
    http-request capture req.hdr(User-Agent) len 256
    http-request capture req.hdr(Referer) len 256
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    use_backend %[var(txn.host),concat(,txn.path,/),map_beg({place.folder}/routes.map,none)]

{_stream(ports) if scenario.stream else ""}frontend metrics
    bind {ADDRESS}:{ports.admin}
    http-request use-service prometheus-exporter if {{ path /metrics }}

backend web
    server web1 {ADDRESS}:{place.upstream.web_port}

backend stream
    mode tcp
    timeout server 1h
    server web1 {ADDRESS}:{place.upstream.web_port}

backend app
    server app1 {ADDRESS}:{place.upstream.app_port}

backend none
    http-request return status 404
"""


def _stream(ports: Ports) -> str:
    return f"""\
frontend stream
    mode tcp
    bind {ADDRESS}:{ports.stream} backlog 4096
    timeout client 1h
    default_backend stream

"""


def _map(scenario: Scenario) -> Iterator[str]:
    # The request's path is looked up with a slash at its end, so that /p1 takes /p1 and /p1/x and leaves /p10 alone.
    for site in scenario.sites():
        for path in site.paths:
            yield f"{site.host}{path.rstrip('/')}/ {site.pool.value}\n"
