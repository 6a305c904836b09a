"""App: an aiohttp application on a thread of its own, with everything that clients of the proxy like to do."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from tests.support.program import PATIENCE_S

GZIPPED = gzip.compress(b"as the backend packed it " * 400, mtime=0)
BLOCK = bytes(range(256)) * 256
"""64 KiB; what /download sends over and over."""


class App:
    """Call its methods from any other thread."""

    def __init__(self) -> None:
        self.port = 0
        self.name = ""
        """What / answers."""
        self.sent_bytes = 0
        """By the last /download or flood: what the socket took."""
        self.downloads_cut = 0
        self.streams_cut = 0
        self.posts = 0
        self.close_codes: dict[str, int] = {}
        """With which a WebSocket ended, by the query it was asked for with."""
        self.entered = threading.Event()
        """Set when somebody waits in /slow or /late."""
        self._events: asyncio.Queue[str | None] = asyncio.Queue()
        self._released = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def publish(self, event: str | None) -> None:
        """The next event of /events; None is their end."""
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def release(self) -> None:
        """Let /slow or /late go on."""
        self._loop.call_soon_threadsafe(self._released.set)

    @property
    def settled(self) -> int:
        """What /download or a flood had sent when the socket took no more; 0 while it takes more."""
        before = self.sent_bytes
        return before if before and self._thread.join(0.3) is None and self.sent_bytes == before else 0

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(PATIENCE_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=0)
        for path, handler in (
            ("/seen", self._seen),
            ("/count", self._count),
            ("/echo", self._echo),
            ("/download", self._download),
            ("/events", self._stream_events),
            ("/gzip", self._gzip),
            ("/slow", self._slow),
            ("/silent", self._silent),
            ("/late", self._late),
            ("/ws", self._websocket),
        ):
            app.router.add_route("*", path, handler)
        app.router.add_route("*", "/{rest:.*}", self._named)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _named(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.name)

    async def _seen(self, request: web.Request) -> web.Response:
        """The request as it came: everything, in order."""
        fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers]
        body = (await request.read()).decode()
        version = f"{request.version.major}.{request.version.minor}"
        return web.json_response(
            {"method": request.method, "target": request.raw_path, "version": version, "fields": fields, "body": body}
        )

    async def _count(self, request: web.Request) -> web.Response:
        self.posts += 1
        digest, size = hashlib.sha256(), 0
        async for data in request.content.iter_any():
            digest.update(data)
            size += len(data)
        return web.json_response({"bytes": size, "sha256": digest.hexdigest()})

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        """Each piece goes back as it comes."""
        response = web.StreamResponse()
        await response.prepare(request)
        async for data in request.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """`?blocks=N`: N times BLOCK."""
        self.sent_bytes = 0
        blocks = int(request.query["blocks"])
        response = web.StreamResponse(headers={"Content-Length": str(blocks * len(BLOCK))})
        await response.prepare(request)
        if request.method == "HEAD":
            return response  # aiohttp would send the blocks all the same
        try:
            for _ in range(blocks):
                await response.write(BLOCK)
                self.sent_bytes += len(BLOCK)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.downloads_cut += 1
        return response

    async def _stream_events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while (event := await self._events.get()) is not None:
                await response.write(f"data: {event}\n\n".encode())
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.streams_cut += 1
        return response

    async def _gzip(self, _request: web.Request) -> web.Response:
        return web.Response(body=GZIPPED, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    async def _slow(self, _request: web.Request) -> web.Response:
        self._released.clear()
        self.entered.set()
        await asyncio.wait_for(self._released.wait(), PATIENCE_S)
        return web.Response(text=self.name)

    async def _late(self, request: web.Request) -> web.StreamResponse:
        """Like /count, but nothing of the body is read before it is released."""
        self._released.clear()
        self.entered.set()
        await asyncio.wait_for(self._released.wait(), PATIENCE_S)
        return await self._count(request)

    async def _silent(self, _request: web.Request) -> web.Response:
        await self._stop.wait()
        return web.Response()

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Echo. `close CODE WHY` makes us close, `abort` breaks the connection, `flood N` sends BLOCK N times."""
        socket = web.WebSocketResponse(max_msg_size=0, protocols=("chat",), compress=False)
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
                elif message.data.startswith("close "):
                    _, code, why = message.data.split(" ", 2)
                    await socket.close(code=int(code), message=why.encode())
                elif message.data.startswith("flood "):
                    self.sent_bytes = 0
                    for _ in range(int(message.data.partition(" ")[2])):
                        await socket.send_bytes(BLOCK)
                        self.sent_bytes += len(BLOCK)
                elif message.data == "abort":
                    transport: Any = request.transport
                    transport.abort()
                else:
                    await socket.send_str(message.data)
        finally:
            # Nothing came that could be a code: this coroutine was cancelled.
            self.close_codes[request.query_string] = socket.close_code or WSCloseCode.ABNORMAL_CLOSURE
        return socket


@contextmanager
def app(name: str = "") -> Iterator[App]:
    """A running App."""
    it = App()
    it.name = name
    it.start()
    try:
        yield it
    finally:
        it.close()
