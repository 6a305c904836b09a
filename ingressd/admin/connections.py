"""Connections: the clients of the admin port, bounded in number and in what they may wait for.

In: a listening socket. Out: aiohttp's protocol on each connection. aiohttp itself has no bound on any of it, and the
controller has better things to do than to wait for whoever connects.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import cast

from aiohttp import web

from ingressd.admin.guard import SECURITY_HEADERS, Answer, error

CONNECTIONS = 100
"""Prometheus, a few probes, a few people: Envoy's admin and nginx's status page are asked by no more."""
HANDSHAKE_S = 5.0
HEAD_S = 10.0
"""From the connection, or from the first byte of a later request, to the end of the head; as on the data ports."""
ANSWER_S = 60.0
"""From the end of the head until the client has taken the whole answer; nginx allows as much between two reads."""
KEEPALIVE_S = 75.0
"""As nginx; scrapers come every 15 to 60 s and keep their connection."""
FIRST_S = 0.2
"""Between connection and request of a client that has something to ask, when the server is about to close."""
ACCEPT_PAUSE_S = 0.5
"""When there are no descriptors: as long as that they may come back."""

_log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """aiohttp's protocol with bounds, and with our answer to what the application never sees (malformed requests)."""

    __slots__ = ("_ahead", "_answer_timer", "_head_timer", "_wire", "answering", "asked", "ended")

    def __init__(self, manager: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        # None switches the access log off, as AppRunner's documentation says; the annotation does not.
        super().__init__(manager, loop=loop, access_log=None, keepalive_timeout=KEEPALIVE_S)  # type: ignore[arg-type]
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        self._ahead = False
        """Bytes came while an answer was being made: they may be the beginning of a head."""
        self.answering = False
        self.asked: asyncio.Future[None] = loop.create_future()
        """Its first request has come, or none ever will."""
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wire = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self.answering:
            self._ahead = True
        elif self._head_timer is None:
            self._expect_head()
        super().data_received(data)

    def begin(self) -> None:
        """The application has a whole head."""
        _settle(self.asked)
        self.answering, self._ahead = True, False
        self._disarm()
        self._answer_timer = self._loop.call_later(ANSWER_S, self._overdue)

    def finish(self) -> None:
        """The application has made its answer; what is left of it is on its way."""
        self.answering = False
        if self._ahead:
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        self._wire = None  # CPython 3.11: a transport that is gone cannot be aborted
        super().connection_lost(exc)
        _settle(self.asked)
        _settle(self.ended)

    def cut(self) -> None:
        """End it now, whatever it is doing."""
        self._disarm()
        if self._wire is not None:
            self._wire.abort()

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

    def _expect_head(self) -> None:
        self._head_timer = self._loop.call_later(HEAD_S, self.cut)

    def _overdue(self) -> None:
        self._answer_timer = None
        if self.answering or (self._wire is not None and self._wire.get_write_buffer_size()):
            self.cut()

    def _disarm(self) -> None:
        for timer in (self._head_timer, self._answer_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._answer_timer = None


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@web.middleware
async def mark(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Tell a request's Connection when its head is whole, and when its answer is."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        return await handler(request)
    connection.begin()
    try:
        return await handler(request)
    finally:
        connection.finish()


class Connections:
    """All that are open. When they are as many as may be, a new one takes the place of the oldest that only waits."""

    def __init__(self, make: Callable[[], Connection], context: Callable[[], ssl.SSLContext | None]) -> None:
        """`context` is asked at each connection; None: plain HTTP."""
        self._make = make
        self._context = context
        self._open: dict[asyncio.Task[None], Connection] = {}

    async def accept(self, sock: socket.socket) -> None:
        """Accept on `sock` until cancelled."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        while True:
            try:
                accepted, _ = await loop.sock_accept(sock)
            except OSError as problem:
                if problem.errno in (errno.EBADF, errno.EINVAL):
                    raise
                await asyncio.sleep(0 if problem.errno == errno.ECONNABORTED else ACCEPT_PAUSE_S)
                continue
            if len(self._open) >= CONNECTIONS and not self._make_room():
                accepted.close()
                continue
            connection = self._make()
            task = loop.create_task(self._serve(accepted, connection))
            self._open[task] = connection
            task.add_done_callback(lambda done: self._open.pop(done, None))
            # sock_accept() does not wait while there is a backlog: let this one, and everybody else, have a turn.
            await asyncio.sleep(0)

    async def begun(self) -> None:
        """Wait for the first request of those that were accepted last: to cut them would look like a fault of ours."""
        fresh = [connection.asked for connection in self._open.values() if not connection.asked.done()]
        if fresh:
            await asyncio.wait(fresh, timeout=FIRST_S)

    async def close(self) -> None:
        """Cut all that are left."""
        tasks = [*self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _make_room(self) -> bool:
        for task, connection in self._open.items():
            if not connection.answering:
                del self._open[task]
                task.cancel()
                return True
        return False

    async def _serve(self, accepted: socket.socket, connection: Connection) -> None:
        context = self._context()
        timeout_s = None if context is None else HANDSHAKE_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=context, ssl_handshake_timeout=timeout_s
            )
            await connection.ended
        except OSError as problem:
            _log.debug("an admin connection ended: %s", problem)
        finally:
            connection.cut()
