"""Envoy: one worker thread, routes by RDS from a file, which is how Envoy takes edits without a control plane.

In: a scenario. Out: envoy.json and routes.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bench.peers.base import IDLE_S, Peer, Place, Ports, Running, said_version, write_files
from bench.peers.wheels import wheel_program
from bench.process import ADDRESS
from bench.scenario import Scenario, Site

Json = dict[str, Any]

_TYPES = "type.googleapis.com/envoy"
_HTTP = f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
LOG_FIELDS = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "upstream": "%UPSTREAM_HOST%",
    "flags": "%RESPONSE_FLAGS%",
    "user_agent": "%REQ(USER-AGENT)%",
    "referer": "%REQ(REFERER)%",
}


class Envoy(Peer):
    """Envoy from its wheel."""

    name = "envoy"

    def program(self) -> str | None:
        return wheel_program("envoy")

    def version(self) -> str:
        return said_version([self.program() or self.name, "--version"], r"/(\d+\.\d+\.\d+)/")

    def files(self, scenario: Scenario, place: Place, ports: Ports) -> dict[str, str]:
        return {
            "envoy.json": json.dumps(_bootstrap(scenario, place, ports), indent=1),
            "routes.json": json.dumps(_routes(scenario)),
        }

    def command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        return [
            self.program() or self.name,
            # Nothing is handed over to a second Envoy here, and its shared memory would outlive it.
            "--disable-hot-restart",
            *("--config-path", str(place.folder / "envoy.json")),
            *("--concurrency", str(scenario.workers)),
            *("--log-level", "error"),
        ]

    def edit(self, running: Running, edition: int) -> Callable[[], None]:
        files = self.changed_files(running, edition)
        return lambda: write_files(running.place.folder, files)


def _bootstrap(scenario: Scenario, place: Place, ports: Ports) -> Json:
    listeners = [_listener("http", ports.http, scenario, place)]
    if scenario.tls:
        listeners.append(_listener("https", ports.https, scenario, place))
    pools = (("web", place.upstream.web_port), ("app", place.upstream.app_port))
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": _address(ports.admin)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                {
                    "name": name,
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "load_assignment": {
                        "cluster_name": name,
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
                    },
                }
                for name, port in pools
            ],
        },
    }


def _listener(name: str, port: int, scenario: Scenario, place: Place) -> Json:
    manager: Json = {
        "@type": _HTTP,
        "stat_prefix": name,
        "use_remote_address": True,
        "append_x_forwarded_port": True,
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_S}s"},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "rds": {
            "route_config_name": "routes",
            "config_source": {
                "path_config_source": {
                    "path": str(place.folder / "routes.json"),
                    "watched_directory": {"path": str(place.folder)},
                }
            },
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    if scenario.access_log:
        manager["access_log"] = [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{_TYPES}.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": str(place.access_log),
                    "log_format": {"json_format": LOG_FIELDS},
                },
            }
        ]
    chain: Json = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
    }
    if name == "https":
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_2",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "tls_certificates": [
                        {
                            "certificate_chain": {"filename": str(place.certificate)},
                            "private_key": {"filename": str(place.key)},
                        }
                    ],
                },
            },
        }
    return {"name": name, "address": _address(port), "tcp_backlog_size": 4096, "filter_chains": [chain]}


def _routes(scenario: Scenario) -> Json:
    table = {
        "@type": f"{_TYPES}.config.route.v3.RouteConfiguration",
        "name": "routes",
        "virtual_hosts": [
            {"name": site.host, "domains": [site.host], "routes": _site_routes(site)} for site in scenario.sites()
        ],
    }
    return {"version_info": str(scenario.edition), "resources": [table]}


def _site_routes(site: Site) -> list[Json]:
    # Envoy takes the first match: the longest path goes first.
    return [
        {
            "match": {"prefix": "/"} if path == "/" else {"path_separated_prefix": path},
            "route": {"cluster": site.pool.value, "timeout": "0s"},
        }
        for path in sorted(site.paths, key=len, reverse=True)
    ]


def _address(port: int) -> Json:
    return {"socket_address": {"address": ADDRESS, "port_value": port}}
