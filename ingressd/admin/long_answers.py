"""LongAnswers: pages as long as the configuration, made one at a time and sent to a few clients at a time.

In: a request and what makes the page. Out: the answer, sent piece by piece. However many clients ask, and however
slowly they read, the controller gets its turn between two pages and holds few of them in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

SENT_AT_ONCE = 4
"""Answers under way; the table of 20,000 routes is 10 MiB."""
PIECE_BYTES = 64 * 1024

Make = Callable[[], Awaitable[bytes]]


class LongAnswers:
    """The place where clients wait for long pages."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(SENT_AT_ONCE)
        self._turn = asyncio.Lock()

    async def send(self, request: web.Request, make: Make, content_type: str) -> web.StreamResponse:
        """The page that `make` makes. Raises ConnectionError when the client leaves meanwhile."""
        async with self._room:
            async with self._turn:
                body = await make()
            fields = {"Content-Type": content_type}
            if len(body) <= PIECE_BYTES or request.method == "HEAD":
                return web.Response(body=body, headers=fields)
            response = web.StreamResponse(headers=fields)
            response.content_length = len(body)
            await response.prepare(request)
            for start in range(0, len(body), PIECE_BYTES):
                await response.write(body[start : start + PIECE_BYTES])
            await response.write_eof()
            return response
