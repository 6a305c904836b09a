"""Caddy: one Go thread, a JSON configuration, edits through its admin API.

In: a scenario. Out: caddy.json.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

from bench.peers.base import IDLE_S, Peer, Place, Ports, Running, said_version
from bench.peers.wheels import wheel_program
from bench.process import ADDRESS
from bench.scenario import Pool, Scenario, Site

Json = dict[str, Any]

UPSTREAM_IDLE_CONNECTIONS = 256
"""Its 32 would close half of 64 connections after each answer."""
LOAD_LIMIT_S = 300.0


class Caddy(Peer):
    """Caddy from its wheel."""

    name = "caddy"

    def program(self) -> str | None:
        return wheel_program("caddy")

    def version(self) -> str:
        return said_version([self.program() or self.name, "version"], r"v?(\d+\.\d+\.\d+)")

    def files(self, scenario: Scenario, place: Place, ports: Ports) -> dict[str, str]:
        return {"caddy.json": json.dumps(_config(scenario, place, ports))}

    def command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        return [self.program() or self.name, "run", "--config", str(place.folder / "caddy.json")]

    def environ(self, scenario: Scenario, place: Place) -> dict[str, str]:
        home = {name: str(place.folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        return {"GOMAXPROCS": str(scenario.workers), **home}

    def edit(self, running: Running, edition: int) -> Callable[[], None]:
        config = self.changed_files(running, edition)["caddy.json"].encode()
        url = f"http://{ADDRESS}:{running.ports.admin}/load"
        request = urllib.request.Request(url, config, {"Content-Type": "application/json"})

        def load() -> None:
            with urllib.request.urlopen(request, timeout=LOAD_LIMIT_S):
                pass

        return load


def _config(scenario: Scenario, place: Place, ports: Ports) -> Json:
    common: Json = {
        "automatic_https": {"disable": True},
        "protocols": ["h1", "h2"],
        "idle_timeout": f"{IDLE_S}s",
        "routes": [*(_site(site, place) for site in scenario.sites()), _not_found()],
    }
    logs: Json = {"default": {"level": "ERROR"}}
    if scenario.access_log:
        common["logs"] = {}
        logs["access"] = {
            "writer": {"output": "file", "filename": str(place.access_log), "roll": False},
            "encoder": {"format": "json"},
            "include": ["http.log.access"],
        }
    servers: Json = {"http": {"listen": [f"{ADDRESS}:{ports.http}"], **common}}
    apps: Json = {"http": {"metrics": {}, "servers": servers}}
    if scenario.tls:
        servers["https"] = {"listen": [f"{ADDRESS}:{ports.https}"], "tls_connection_policies": [{}], **common}
        files = [{"certificate": str(place.certificate), "key": str(place.key)}]
        apps["tls"] = {"certificates": {"load_files": files}}
    return {
        "admin": {"listen": f"{ADDRESS}:{ports.admin}", "config": {"persist": False}},
        "logging": {"logs": logs},
        "apps": apps,
    }


def _site(site: Site, place: Place) -> Json:
    proxy = _proxy(place.upstream.web_port if site.pool is Pool.WEB else place.upstream.app_port)
    # The longest path goes first, as the Caddyfile's adapter sorts it.
    routes = [
        {"match": [{"path": ["/*"] if path == "/" else [path, f"{path}/*"]}], "handle": [proxy], "terminal": True}
        for path in sorted(site.paths, key=len, reverse=True)
    ]
    handle = [{"handler": "subroute", "routes": [*routes, _not_found()]}]
    return {"match": [{"host": [site.host]}], "handle": handle, "terminal": True}


def _proxy(port: int) -> Json:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{ADDRESS}:{port}"}],
        "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": UPSTREAM_IDLE_CONNECTIONS}},
    }


def _not_found() -> Json:
    return {"handle": [{"handler": "static_response", "status_code": 404}]}
