"""Upstream: what all proxies forward to, the same for each and on the load generator's core.

In: a folder and cores. Out: an nginx that answers at once, has static files and reads bodies; a WebSocket echo app.
"""

from __future__ import annotations

import http.client
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT
from bench.process import ADDRESS, Process, StartError, free_port

SMALL_BODY = "x" * 127 + "\n"
"""128 bytes: what an API answers to a small question."""
STATIC_FILES = {"10k": 10 * 1024, "1m": 1024 * 1024}
SINK_BUFFER_BYTES = 128 * 1024
START_S = 10.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """The ports of the two upstreams on 127.0.0.1."""

    web_port: int
    app_port: int


def nginx_program() -> str | None:
    """nginx, which is in sbin for Debian and not on everybody's PATH."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def nginx_config(folder: Path, port: int) -> str:
    """/sink reads the whole body before anything else happens, because its proxy_pass waits for it; / reads nothing."""
    temp_paths = "\n".join(
        f"  {name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 10000; }}
http {{
{temp_paths}
  access_log off;
  sendfile on;
  tcp_nopush on;
  server_tokens off;
  default_type text/plain;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  server {{
    listen {ADDRESS}:{port} backlog=4096;
    location / {{ return 200 "{SMALL_BODY.rstrip()}\\n"; }}
    location = /10k {{ root {folder}/static; }}
    location = /1m {{ root {folder}/static; }}
    location = /sink {{
      client_body_buffer_size {SINK_BUFFER_BYTES};
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_pass http://unix:{folder}/sink.sock:/;
    }}
  }}
  server {{
    listen unix:{folder}/sink.sock;
    location / {{ return 200 "read\\n"; }}
  }}
}}
"""


@contextmanager
def running_upstream(folder: Path, cores: list[int]) -> Iterator[Upstream]:
    """Both upstreams for the time of the block. Raises StartError."""
    program = nginx_program()
    if program is None:
        raise StartError("nginx is missing, and it is the upstream of every measurement: scripts/install-bench-peers")
    (folder / "static").mkdir(parents=True)
    for name, size_bytes in STATIC_FILES.items():
        (folder / "static" / name).write_bytes(b"x" * size_bytes)
    web_port, app_port = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(nginx_config(folder, web_port))
    web = Process([program, "-p", str(folder), "-c", str(config)], folder / "nginx.out", cores)
    try:
        app = Process([sys.executable, "-m", "bench.echo", str(app_port)], folder / "app.out", cores, cwd=ROOT)
        try:
            web.until(lambda: _answers(web_port), "answer from the upstream", START_S)
            app.until(lambda: _answers(app_port), "answer from the echo app", START_S)
            yield Upstream(web_port, app_port)
        finally:
            app.stop()
    finally:
        web.stop()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    finally:
        connection.close()
