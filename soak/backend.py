"""`python -m soak.backend`: an application with everything that the clients of a soak ask for; prints its port."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from contextlib import suppress

from aiohttp import WSMsgType, web

from soak import ADDRESS

BLOCK = bytes(range(256)) * 64
"""16 KiB; what /download sends over and over."""
EVENT_S = 0.05
SLOW_S = 0.3
BACKLOG = 4096
"""A thousand clients come at once: whoever finds no room tries again after a second, and looks like a slow proxy."""


async def _hello(request: web.Request) -> web.Response:
    """With a field that says what was asked for: memories of lines of responses fill up, too."""
    return web.Response(text="hello", headers={"X-Query": request.query_string})


async def _count(request: web.Request) -> web.Response:
    """The digest of what was sent."""
    digest = hashlib.sha256()
    async for data in request.content.iter_any():
        digest.update(data)
    return web.Response(text=digest.hexdigest())


async def _download(request: web.Request) -> web.StreamResponse:
    """`?blocks=N`: N times BLOCK."""
    blocks = int(request.query["blocks"])
    response = web.StreamResponse(headers={"Content-Length": str(blocks * len(BLOCK))})
    await response.prepare(request)
    with suppress(ConnectionError):  # clients leave
        for _ in range(blocks):
            await response.write(BLOCK)
        await response.write_eof()
    return response


async def _events(request: web.Request) -> web.StreamResponse:
    """`?events=N`: N events, one after the other, in chunks."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with suppress(ConnectionError):
        for number in range(int(request.query["events"])):
            await response.write(b"data: %d\n\n" % number)
            await asyncio.sleep(EVENT_S)
        await response.write_eof()
    return response


async def _slow(_request: web.Request) -> web.Response:
    await asyncio.sleep(SLOW_S)
    return web.Response(text="slow")


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    """Echo."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def serve() -> None:
    """Until standard input ends: with whoever started it."""
    app = web.Application(client_max_size=0)
    for path, handler in (
        ("/count", _count),
        ("/download", _download),
        ("/events", _events),
        ("/slow", _slow),
        ("/ws", _websocket),
        ("/{rest:.*}", _hello),
    ):
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, ADDRESS, 0, backlog=BACKLOG).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
