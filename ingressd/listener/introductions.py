"""Introductions: a trusted proxy that says, before anything else, whose connection it passes on (PROXY protocol).

In: an accepted socket. Out: the same connection as its client's, with the socket where TLS or HTTP begins, or nothing
when the proxy has not said it. It never knows what is spoken behind the header.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from ingressd.errors import StartupError
from ingressd.http.forwarded import TrustedProxies
from ingressd.listener.gate import Admission
from ingressd.listener.proxy_protocol import HEADER_BYTES, HeaderError, ProxyHeader, parse
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Settings

logger = logging.getLogger(__name__)

ON = "on"

_COMPLAINT_GAP_S = 60.0


def check(settings: Settings) -> None:
    """Raises StartupError when nobody could introduce a client."""
    if settings.proxy_protocol == ON and not settings.trusted_proxies:
        raise StartupError(
            "--proxy-protocol on: name the load balancers whose word is taken with --trusted-proxies CIDR,..."
            " (whoever else sends such a header could be anybody)"
        )


class Introduced(Admission):
    """The place of a connection whose proxy has said whose it is. The gate goes on counting it as the proxy's."""

    __slots__ = ("_place", "local_port", "named")

    def __init__(self, place: Admission, header: ProxyHeader) -> None:
        self._place = place
        self.named = header.source is not None
        self.address, self.port = header.source or (place.address, place.port)
        self.local_port = 0 if header.destination is None else header.destination[1]

    def end(self) -> None:
        """See Admission."""
        self._place.end()


class Introductions:
    """Reads the headers of trusted proxies. One per worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings, stats: WorkerStats) -> None:
        """Raises StartupError; see `check`."""
        check(settings)
        self._loop = loop
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._stats = stats
        self._next_complaint = loop.time()
        self._begun: set[asyncio.Task[bool]] = set()

    def due(self, admission: Admission) -> bool:
        """Whether the peer must introduce its client. Anybody else's header is no header: it could say anything."""
        return self._proxies.trusts(admission.address)

    def begin(
        self,
        sock: socket.socket,
        admission: Admission,
        seconds: float,
        introduced: Callable[[socket.socket, Admission], Awaitable[None]],
        lost: Callable[[socket.socket, Admission], None],
    ) -> None:
        """Give the connection to `introduced` once its header is there, within `seconds`; else to `lost`."""

        async def wait() -> bool:
            known = await self.introduce(sock, admission, self._loop.time() + seconds)
            if known is not None:
                await introduced(sock, known)
            return known is not None

        def ended(task: asyncio.Task[bool]) -> None:
            self._begun.discard(task)
            problem = None if task.cancelled() else task.exception()
            if problem is not None:
                logger.debug("a connection was lost when it was introduced: %r", problem)
            if task.cancelled() or problem is not None or not task.result():
                lost(sock, admission)

        task = self._loop.create_task(wait())
        self._begun.add(task)
        task.add_done_callback(ended)

    def cut(self) -> None:
        """End what was begun and waits for its header."""
        for task in tuple(self._begun):
            task.cancel()

    async def introduce(self, sock: socket.socket, admission: Admission, deadline: float) -> Introduced | None:
        """Take the header off the socket, and not a byte more. None: there is none by the deadline. Raises OSError."""
        try:
            async with asyncio.timeout_at(deadline):
                header = await self._read(sock)
        except HeaderError as problem:
            self._missed(admission, str(problem))
            return None
        except TimeoutError:
            self._missed(admission, "it did not come in time")
            return None
        return None if header is None else Introduced(admission, header)

    async def _read(self, sock: socket.socket) -> ProxyHeader | None:
        """None: closed without a word, as the health checks of load balancers are."""
        head = b""
        while True:
            try:
                seen = sock.recv(HEADER_BYTES - len(head), socket.MSG_PEEK)
            except BlockingIOError:
                await readable(self._loop, sock)
                continue
            if not seen:
                if head:
                    raise HeaderError("closed in the middle of it")
                return None
            header = parse(head + seen)
            if header is not None:
                sock.recv(header.size - len(head))
                return header
            # All that came belongs to the header: taken off, it wakes us no more.
            head += sock.recv(len(seen))

    def _missed(self, admission: Admission, why: str) -> None:
        self._stats.proxy_headers_missed_total += 1
        now = self._loop.time()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_GAP_S
            logger.warning(
                "%s is one of --trusted-proxies, and its connection has no PROXY header: %s"
                " (have it send one, or take it out of --trusted-proxies)",
                admission.address,
                why,
            )


async def readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait until something can be read, or the peer has closed."""
    ready = loop.create_future()
    loop.add_reader(sock, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
