"""AdminServer: the admin application on listening sockets that somebody else opened.

In: a View and sockets. Out: answers, also to what is not even HTTP, without echo, traceback or software versions.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

from aiohttp import web

from ingressd.admin.app import make_app
from ingressd.admin.guard import SECURITY_HEADERS, error
from ingressd.admin.view import View

KEEPALIVE_S = 75.0
"""As nginx; scrapers come every 15 to 60 s and keep their connection."""

_log = logging.getLogger(__name__)


class AdminServer:
    """Serves from start() to close(), on the running loop."""

    def __init__(self, view: View) -> None:
        self._runner = web.AppRunner(make_app(view), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on these listening sockets; they belong to us from now on."""
        loop = asyncio.get_running_loop()
        await self._runner.setup()
        manager = self._runner.server
        if manager is None:
            raise RuntimeError("the admin application has no server after its setup")

        def protocol() -> _Protocol:
            # None switches the access log off, as AppRunner's documentation says; the annotation does not.
            return _Protocol(manager, loop=loop, access_log=None, keepalive_timeout=KEEPALIVE_S)  # type: ignore[arg-type]

        for sock in sockets:
            self._servers.append(await loop.create_server(protocol, sock=sock))

    async def close(self) -> None:
        """Stop accepting, and end what is open within a second."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()


class _Protocol(web.RequestHandler):
    """aiohttp's protocol, with our answer to what the application never sees (malformed requests)."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        _log.debug("malformed request from %s", request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: there is no room for another")
        # Without a Server field of ours aiohttp would add one with its version and Python's.
        response = error(status, "bad request" if status < 500 else "internal error")
        response.headers.update({**SECURITY_HEADERS, "Server": "ingressd"})
        response.force_close()
        return response
