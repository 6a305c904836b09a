"""One app on one port: the command line that echo.py and live.py share.

In: a function that makes an app by its name. Out: a process that serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys
from collections.abc import Callable

from aiohttp import web

from .own_certificate import own_certificate

MakeApp = Callable[[str], web.Application]


async def listen(
    app: web.Application, address: str, port: int, tls: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, int]:
    """Serve `app`; port 0 is any free one. Returns its runner and the port. Raises OSError when the port is busy."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, address, port, ssl_context=tls).start()
    return runner, runner.addresses[0][1]


def stop_signal() -> asyncio.Event:
    """Set at SIGINT or SIGTERM, which no longer end the process by themselves."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _serve(make_app: MakeApp, name: str, address: str, port: int, tls: ssl.SSLContext | None) -> None:
    stopped = stop_signal()
    runner, port = await listen(make_app(name), address, port, tls)
    print(f"{name} listens on {address}:{port}", flush=True)
    await stopped.wait()
    await runner.cleanup()


def main(make_app: MakeApp, name: str) -> None:
    """`--name NAME --bind ADDRESS --port PORT [--tls]`, as docker-compose.yml starts it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default=name, help="the name the app gives itself in its answers")
    parser.add_argument("--bind", default="0.0.0.0", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on, 0 is any free one")
    parser.add_argument("--tls", action="store_true", help="speak HTTPS, with a certificate of its own making")
    arguments = parser.parse_args()
    tls = own_certificate(arguments.name) if arguments.tls else None
    try:
        asyncio.run(_serve(make_app, arguments.name, arguments.bind, arguments.port, tls))
    except OSError as error:
        sys.exit(f"{arguments.name} cannot listen on {arguments.bind}:{arguments.port}: {error.strerror}")
