"""The WebSocket echo behind the proxies: `python -m bench.echo PORT`.

In: requests. Out: 200 at /, and at /ws every message as it came.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import WSMsgType, web

from bench.process import ADDRESS


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send back every message as it came."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def root(_request: web.Request) -> web.Response:
    """For whoever asks whether the app is up."""
    return web.Response(text="up\n")


async def main(port: int) -> None:
    """Serve until killed."""
    app = web.Application()
    app.add_routes([web.get("/", root), web.get("/ws", echo)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, ADDRESS, port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
