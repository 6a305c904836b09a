"""All the demo apps on this machine, each on a free loopback port.

    python -m examples.apps --endpoints FILE

Writes FILE, the EndpointSlices that say where every app is, then prints one line of JSON (`name_server`, which knows
the partner's address, and `try`, commands to type), and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from .cast import CAST, PARTNER_NAME, PARTNER_PORT, TRY, Part
from .echo import make_app as make_echo
from .names import answer_for
from .own_certificate import own_certificate
from .serving import listen, stop_signal


def endpoint_slice(service: str, copy: int, port: int) -> dict[str, Any]:
    """Each copy has a port of its own, and the ports of a slice hold for all of its addresses: so a slice a copy.

    The port stands there twice: for Services whose port has no name, and for those that call it `http`.
    """
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-{copy}", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": port}, {"name": "http", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }


async def start_partner() -> tuple[web.AppRunner, str]:
    """The partner's port is fixed, so it takes the first loopback address where that port is free (Linux has many)."""
    for last in range(1, 255):
        address = f"127.0.0.{last}"
        try:
            runner, _ = await listen(make_echo("partner"), address, PARTNER_PORT)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise
        else:
            return runner, address
    sys.exit(f"the partner app found no loopback address with port {PARTNER_PORT} free: stop what listens there")


async def start_copies(part: Part) -> tuple[list[web.AppRunner], list[dict[str, Any]]]:
    """Start every copy of one app; returns the runners and where the copies are."""
    runners, slices = [], []
    for copy in range(1, part.copies + 1):
        tls = own_certificate(part.service) if part.tls else None
        runner, port = await listen(part.make_app(part.service), "127.0.0.1", 0, tls)
        runners.append(runner)
        slices.append(endpoint_slice(part.service, copy, port))
    return runners, slices


async def serve(endpoints: Path) -> None:
    """Start all, say where they are, serve until told to stop."""
    stopped = stop_signal()
    runners: list[web.AppRunner] = []
    slices: list[dict[str, Any]] = []
    for part in CAST:
        part_runners, part_slices = await start_copies(part)
        runners += part_runners
        slices += part_slices
    partner, address = await start_partner()
    runners.append(partner)
    names, name_server_port = await answer_for(PARTNER_NAME, address)
    whole = {"apiVersion": "v1", "kind": "List", "items": slices}
    unfinished = endpoints.with_name(f".{endpoints.name}.unfinished")
    unfinished.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, endpoints)
    print(json.dumps({"name_server": f"127.0.0.1:{name_server_port}", "try": TRY}), flush=True)
    await stopped.wait()
    names.close()
    await asyncio.gather(*(runner.cleanup() for runner in runners))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="examples.apps")
    parser.add_argument("--endpoints", type=Path, required=True, help="the file to write the EndpointSlices to (.json)")
    asyncio.run(serve(parser.parse_args().endpoints))


if __name__ == "__main__":
    main()
