"""`python -m soak.slow`: what a thousand slow clients cost the others.

slowhttptest holds connections with slow heads, slow bodies and slow reads, one after the other; a client of the usual
kind measures its latency before and meanwhile. A figure, not a test: it prints the ratio and judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import quantiles

from bench.process import StartError
from soak import ADDRESS
from soak.connection import Connection, now
from soak.program import Program, backends

CONNECTIONS = 1000
SECONDS = 20
RAMP_S = 4.0
"""The attacker opens half of its connections a second: that is another attack, and not measured."""
PACE_S = 0.005
"""200 requests a second on one connection, and every tenth of them on a new one."""
NEW_EVERY = 10
ARGUMENTS = ("--workers=2", "--drain-timeout=2")
_SERVICE = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  rules:
    - http:
        paths:
          - {{path: {path}, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: 80}}]}}}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: {name}}}
subsets: [{{addresses: [{{ip: 127.0.0.1}}], ports: [{{port: {port}}}]}}]
"""
_ATTACKS = {
    "slow heads": ("/page", ("-H", "-i", "2", "-x", "24")),
    "slow bodies": ("/count", ("-B", "-i", "2", "-s", "8192", "-x", "10")),
    "slow reads": ("/download?blocks=64", ("-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "3")),
}


def main() -> int:
    """Returns 0, or 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m soak.slow", description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="of slow clients (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each attack (default: %(default)s)")
    options = parser.parse_args()
    if shutil.which("slowhttptest") is None:
        print("soak: slowhttptest is missing: apt-get install slowhttptest", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ingressd-slow-") as folder:
        try:
            asyncio.run(_measure(Path(folder), options.connections, options.seconds))
        except (StartError, TimeoutError) as problem:
            print(f"soak: {problem}", file=sys.stderr)
            return 2
    return 0


async def _measure(folder: Path, connections: int, seconds: int) -> None:
    # Each kind of client has a backend of its own: it is the proxy that is measured.
    with backends(3) as (usual, bodies, reads):
        site = folder / "site"
        site.mkdir()
        for name, path, port in (("usual", "/", usual), ("bodies", "/count", bodies), ("reads", "/download", reads)):
            (site / f"{name}.yaml").write_text(_SERVICE.format(name=name, path=path, port=port))
        program = Program(folder, site, ARGUMENTS, sorted(os.sched_getaffinity(0)))
        try:
            await program.until_ready()
            port = program.ports["http"]
            await _latencies(port, seconds / 4)
            quiet = _percentiles(await _latencies(port, seconds))
            print(f"{'quiet':12} p50 {quiet[0]:6.2f} ms   p99 {quiet[1]:6.2f} ms")
            for name, (path, arguments) in _ATTACKS.items():
                url = f"http://{ADDRESS}:{port}{path}"
                command = _command(url, arguments, connections, int(RAMP_S) + seconds)
                attack = await asyncio.create_subprocess_exec(
                    *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                try:
                    await _latencies(port, RAMP_S)
                    under = _percentiles(await _latencies(port, seconds))
                finally:
                    with suppress(ProcessLookupError):  # it may have ended by itself
                        attack.terminate()
                    await attack.wait()
                print(
                    f"{name:12} p50 {under[0]:6.2f} ms   p99 {under[1]:6.2f} ms   "
                    f"{under[0] / quiet[0]:.2f} x and {under[1] / quiet[1]:.2f} x quiet"
                )
        finally:
            program.process.stop()


def _command(url: str, arguments: Sequence[str], connections: int, seconds: int) -> list[str]:
    fixed = ["-c", str(connections), "-r", str(connections // 2), "-l", str(seconds), "-v", "0", "-p", "5", "-u", url]
    return ["slowhttptest", *arguments, *fixed]


async def _latencies(port: int, seconds: float) -> list[float]:
    """Of requests that are answered 200, in seconds; with the connecting, where there was one."""
    found: list[float] = []
    kept = await Connection.open(port)
    end = now() + seconds
    while now() < end:
        started = now()
        if len(found) % NEW_EVERY:
            await kept.ask("/page")
        else:
            connection = await Connection.open(port)
            await connection.ask("/page")
            connection.close()
        found.append(now() - started)
        await asyncio.sleep(PACE_S)
    kept.close()
    return found


def _percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    cuts = quantiles(latencies, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


if __name__ == "__main__":
    sys.exit(main())
