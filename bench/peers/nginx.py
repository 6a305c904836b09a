"""nginx: one worker, server blocks as ingress-nginx writes them: a prefix by path element is two locations.

In: a scenario. Out: nginx.conf and the files it includes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.peers.base import (
    DESCRIPTORS,
    IDLE_S,
    REQUESTS_PER_CONNECTION,
    Peer,
    Place,
    Ports,
    Running,
    said_version,
    write_files,
)
from bench.process import ADDRESS
from bench.scenario import EDITED_HOST, Scenario, Site
from bench.upstream import nginx_program

LOG_FORMAT = """\
  log_format json escape=json '{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method",'
    '"host":"$host","path":"$request_uri","protocol":"$server_protocol","status":$status,"bytes_in":$request_length,'
    '"bytes_out":$body_bytes_sent,"duration_s":$request_time,"request_id":"$request_id","upstream":"$upstream_addr",'
    '"upstream_status":"$upstream_status","upstream_s":"$upstream_response_time","user_agent":"$http_user_agent",'
    '"referer":"$http_referer"}';"""


STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Debian's package libnginx-mod-stream. Without it nginx has no TCP, and its row says so."""


class Nginx(Peer):
    """nginx of the distribution."""

    name = "nginx"
    takes_many_files = True

    def program(self) -> str | None:
        return nginx_program()

    def version(self) -> str:
        return said_version([self.program() or self.name, "-v"], r"nginx/(\S+)")

    def files(self, scenario: Scenario, place: Place, ports: Ports) -> dict[str, str]:
        files = {"nginx.conf": _main(scenario, place, ports)}
        blocks: dict[str, list[str]] = {}
        for site in scenario.sites():
            own_file = scenario.file_per_host or site.host == EDITED_HOST
            blocks.setdefault(site.host if own_file else "all", []).append(_server(site, scenario, ports))
        return files | {f"sites/{name}.conf": "".join(texts) for name, texts in blocks.items()}

    def check_command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        """Nobody starts or reloads nginx without it."""
        return [*self.command(scenario, place, ports), "-t"]

    def command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        return [self.program() or self.name, "-p", str(place.folder), "-c", str(place.folder / "nginx.conf")]

    def edit(self, running: Running, edition: int) -> Callable[[], None]:
        files = self.changed_files(running, edition)

        def save() -> None:
            write_files(running.place.folder, files)
            running.process.signal(signal.SIGHUP)

        return save


def _main(scenario: Scenario, place: Place, ports: Ports) -> str:
    temp_paths = "\n".join(
        f"  {name}_temp_path {place.folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    names = 1 << max(10, scenario.hosts.bit_length() + 1)
    tls = f"\n    listen {ADDRESS}:{ports.https} ssl http2 default_server backlog=4096;" if scenario.tls else ""
    certificate = (
        f"\n  ssl_certificate {place.certificate};\n  ssl_certificate_key {place.key};\n"
        "  ssl_session_cache shared:tls:10m;\n  ssl_protocols TLSv1.2 TLSv1.3;"
        if scenario.tls
        else ""
    )
    upstreams = "\n".join(
        f"  upstream {name} {{ server {ADDRESS}:{port}; keepalive 64; keepalive_requests {REQUESTS_PER_CONNECTION}; }}"
        for name, port in (("web", place.upstream.web_port), ("app", place.upstream.app_port))
    )
    return f"""\
{_stream_module() if scenario.stream else ""}daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes {scenario.workers};
worker_rlimit_nofile {DESCRIPTORS};
pid {place.folder}/pid;
error_log {place.folder}/error.log error;
events {{ worker_connections {DESCRIPTORS // 2}; }}
http {{
{temp_paths}
{LOG_FORMAT}
  access_log {f"{place.access_log} json" if scenario.access_log else "off"};
  server_tokens off;
  sendfile on;
  tcp_nodelay on;
  server_names_hash_max_size {names};
  server_names_hash_bucket_size 128;
  keepalive_timeout {IDLE_S}s;
  keepalive_requests {REQUESTS_PER_CONNECTION};
  client_max_body_size 0;
  proxy_http_version 1.1;
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  proxy_set_header Host $http_host;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Request-ID $request_id;{certificate}
{upstreams}
  server {{
    listen {ADDRESS}:{ports.http} default_server backlog=4096;{tls}
    return 404;
  }}
  server {{
    listen {ADDRESS}:{ports.admin};
    location = /status {{ stub_status; }}
  }}
  include {place.folder}/sites/*.conf;
}}
{_stream(place, ports) if scenario.stream and STREAM_MODULE.exists() else ""}"""


def _stream_module() -> str:
    return f"load_module {STREAM_MODULE};\n" if STREAM_MODULE.exists() else ""


def _stream(place: Place, ports: Ports) -> str:
    return f"""\
stream {{
  upstream web {{ server {ADDRESS}:{place.upstream.web_port}; }}
  server {{
    listen {ADDRESS}:{ports.stream} backlog=4096;
    proxy_pass web;
    proxy_timeout 1h;
  }}
}}
"""


def _server(site: Site, scenario: Scenario, ports: Ports) -> str:
    tls = f" listen {ADDRESS}:{ports.https} ssl http2;" if scenario.tls else ""
    locations = "\n".join(_locations(site))
    return f"server {{ listen {ADDRESS}:{ports.http};{tls} server_name {site.host};\n{locations}\n}}\n"


def _locations(site: Site) -> Iterator[str]:
    to = f"{{ proxy_pass http://{site.pool.value}; }}"
    for path in site.paths:
        if path == "/":
            yield f"  location / {to}"
        else:
            yield f"  location {path}/ {to}"
            yield f"  location = {path} {to}"
