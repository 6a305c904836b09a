"""AdminServer: the admin application on listening sockets that somebody else opened.

In: a View, settings and sockets. Out: answers, also to what is not even HTTP, without echo, traceback or software
versions.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from ingressd.admin.app import make_app
from ingressd.admin.connections import Connection, Connections, mark
from ingressd.admin.credentials import Credentials, refuse_strangers
from ingressd.admin.view import View
from ingressd.settings import Settings

_log = logging.getLogger(__name__)


class AdminServer:
    """Serves from start() to close(), on the running loop."""

    def __init__(self, view: View, settings: Settings) -> None:
        """Reads the token and the certificate. Raises StartupError."""
        self._settings = settings
        self._credentials = Credentials(self._settings)
        app = make_app(view, lambda: self._credentials.token)
        app.middlewares.insert(0, mark)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._connections: Connections | None = None
        self._sockets: list[socket.socket] = []
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on these listening sockets; they belong to us from now on. Raises StartupError."""
        self._sockets = [*sockets]
        for sock in sockets:
            refuse_strangers(self._settings, sock.getsockname()[0])
        loop = asyncio.get_running_loop()
        await self._runner.setup()
        manager = self._runner.server
        if manager is None:
            raise RuntimeError("the admin application has no server after its setup")
        self._connections = Connections(lambda: Connection(manager, loop), lambda: self._credentials.context)
        self._tasks = [loop.create_task(self._connections.accept(sock)) for sock in sockets]
        if sockets and self._credentials.changes:
            await asyncio.to_thread(self._credentials.warn)
            self._tasks.append(loop.create_task(self._credentials.follow()))

    async def close(self) -> None:
        """Stop accepting, answer what was accepted, and end what is open within little more than a second."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._sockets:
            sock.close()
        if self._connections is not None:
            await self._connections.begun()
        await self._runner.cleanup()
        if self._connections is not None:
            await self._connections.close()
