"""wrk: closed-loop HTTP/1.1 load, one thread. Its Lua script makes the requests and prints one line of JSON at the end.

In: a port and what to ask. Out: a Sample.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.clients.sample import ClientError, Sample
from bench.process import before_exec, signals_held

REQUEST_LIMIT_S = 30
"""wrk's own 2 s would call a slow proxy's answers errors."""
GRACE_S = 60.0
"""What wrk gets beyond its duration to connect, format its requests and print."""
MARK = "BENCH "

_ERRORS = ("connect", "read", "write", "timeout", "status")
_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'BENCH {"requests":%d,"us":%d,"p50":%.1f,"p99":%.1f,"p999":%.1f,' ..
    '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect, e.read, e.write, e.timeout, e.status))
end
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """What wrk asks for: one request over and over, or each of `urls` in turn."""

    path: str = "/x"
    host: str = "h0.bench.test"
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body_bytes: int = 0
    connections: int = 64
    urls: Sequence[tuple[str, str]] = ()


def script(ask: Ask, url_file: Path | None) -> str:
    """The Lua script. `url_file` has a line `host path` for each of the urls."""
    lines = [f"wrk.method = {quote(ask.method)}", f"wrk.headers['Host'] = {quote(ask.host)}"]
    lines += [f"wrk.headers[{quote(name)}] = {quote(value)}" for name, value in ask.headers.items()]
    if ask.body_bytes:
        lines.append(f"wrk.body = string.rep('x', {ask.body_bytes})")
    if url_file is not None:
        lines.append(
            f"""\
local requests, count, at = {{}}, 0, 0
init = function(arguments)
  for line in io.lines({quote(str(url_file))}) do
    local host, path = line:match("(%S+) (%S+)")
    wrk.headers["Host"] = host
    count = count + 1
    requests[count] = wrk.format(wrk.method, path)
  end
  collectgarbage()
end
request = function()
  at = at % count + 1
  return requests[at]
end"""
        )
    return "\n".join(lines) + _DONE


def quote(text: str) -> str:
    """A Lua string."""
    return json.dumps(text)


def parse(output: str) -> Sample:
    """The sample in wrk's output. Raises ClientError."""
    for line in output.splitlines():
        if line.startswith(MARK):
            said: dict[str, Any] = json.loads(line.removeprefix(MARK))
            kinds = {kind: said[kind] for kind in _ERRORS if said[kind]}
            return Sample(
                said["requests"],
                said["us"] / 1e6,
                sum(kinds.values()),
                said["p50"],
                said["p99"],
                said["p999"],
                ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
            )
    raise ClientError(f"wrk: {' | '.join(output.strip().splitlines()[-4:]) or 'it said nothing'}")


class Wrk:
    """wrk, running."""

    def __init__(self, folder: Path, port: int, ask: Ask, seconds: float, cores: Sequence[int], tls: bool) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise ClientError("wrk is not installed (scripts/install-bench-peers)")
        url_file = None
        if ask.urls:
            url_file = folder / "urls"
            url_file.write_text("".join(f"{host} {path}\n" for host, path in ask.urls))
        lua = folder / "ask.lua"
        lua.write_text(script(ask, url_file))
        # By name, because wrk sends it as SNI, which must not be an address.
        url = f"{'https' if tls else 'http'}://localhost:{port}{ask.path}"
        self._limit_s = seconds + GRACE_S
        with signals_held():
            self._process = subprocess.Popen(
                [
                    *(program, "--threads", "1", "--connections", str(ask.connections)),
                    *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{REQUEST_LIMIT_S}s"),
                    *("--script", str(lua), url),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=lambda: before_exec(cores),
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def result(self) -> Sample:
        """Wait for its end. Raises ClientError."""
        started_at = time.monotonic()
        try:
            output, _ = self._process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired as problem:
            raise ClientError(f"wrk: no end after {time.monotonic() - started_at:.0f} s") from problem
        finally:
            self.kill()
        return parse(output)

    def kill(self) -> None:
        """End it if it still runs."""
        if self.running:
            self._process.kill()
            self._process.wait()
