"""The live app: a WebSocket that echoes, server-sent events that tick, and a page that shows both.

python -m examples.apps.live --name live --port 8000
"""

from __future__ import annotations

import asyncio
import json

from aiohttp import WSMsgType, web

from .serving import main

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>live</title>
<h1>live</h1>
<p>Server-sent events: <output id="tick">waiting</output></p>
<form id="say">WebSocket: <input name="text" value="hello"> <button>Send</button></form>
<pre id="heard"></pre>
<script>
  new EventSource("/events").onmessage = event => { tick.textContent = event.data; };
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
  socket.onmessage = event => { heard.textContent += event.data + "\\n"; };
  say.onsubmit = event => { event.preventDefault(); socket.send(say.elements.text.value); };
</script>
"""


async def _page(_: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def _events(request: web.Request) -> web.StreamResponse:
    """One event every `interval` seconds (1); ends after `count` of them (0 = never)."""
    try:
        count = int(request.query.get("count", "0"))
        interval_s = float(request.query.get("interval", "1"))
    except ValueError:
        raise web.HTTPBadRequest(text="count and interval are numbers\n") from None
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    tick = 0
    while True:
        tick += 1
        await response.write(f"data: {json.dumps({'tick': tick})}\n\n".encode())
        if tick == count:
            return response
        await asyncio.sleep(interval_s)


def make_app(name: str) -> web.Application:
    """`/` is the page, `/ws` the WebSocket, `/events` the event stream. `name` is the page's only ornament."""
    app = web.Application()
    app.router.add_get("/", _page)
    app.router.add_get("/ws", _echo)
    app.router.add_get("/events", _events)

    async def sign(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-App"] = name

    app.on_response_prepare.append(sign)
    return app


if __name__ == "__main__":
    main(make_app, "live")
