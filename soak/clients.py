"""Clients: each kind does one thing over and over, and knows what it must get.

In: the program's ports. Out: entries in the ledger. Some of them misbehave; what those get is checked all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from soak import ADDRESS, HOST
from soak.backend import BLOCK
from soak.connection import PATIENCE_S, Connection, Wrong, now
from soak.ledger import Failure, Ledger

UPLOAD = random.Random(1).randbytes(96 * 1024)
_UPLOAD_DIGEST = hashlib.sha256(UPLOAD).hexdigest().encode()
_CHUNKED_UPLOAD = b"".join(
    b"%x\r\n%b\r\n" % (len(part), part) for part in (UPLOAD[at : at + 7000] for at in range(0, len(UPLOAD), 7000))
)
_BLOCKS = 32
_MESSAGES = 30
_EVENTS = 20
_TARGETS = 500
"""Different targets: more than one, fewer than a worker remembers."""
_AGAIN_S = 0.2
"""After a failure."""
_TRICKLE_S = 0.05
_KEPT_REQUESTS = 400
"""On one connection, before a client opens the next."""

_WARM_UP_CLIENTS = 16
_WARM_UP_REQUESTS = 3000
"""48,000 lines and targets that nobody has seen, in both directions: more than two workers remember
(line_memory.STARTS)."""

_numbers = itertools.count(1_000_000)
"""All of a length: a worker that remembers longer ones in place of shorter ones grows, too."""


@dataclass(frozen=True)
class Ports:
    """Of the program."""

    http: int
    https: int
    tls: ssl.SSLContext
    """What a client needs to trust it."""


Deed = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """One kind of client."""

    name: str
    count: int
    pause_s: float
    """Between two deeds."""
    deed: Deed
    tls: bool = False
    keeps: bool = False
    """One connection for many deeds."""


class Load:
    """All clients, from start to stop."""

    def __init__(self, ports: Ports, ledger: Ledger) -> None:
        self._ports = ports
        self._ledger = ledger
        self._stopping = asyncio.Event()

    async def warm_up(self) -> None:
        """Fill what workers remember of lines and targets, as a day of clients does: it is bounded, and no growth."""

        async def ask_many() -> None:
            connection = await Connection.open(self._ports.http)
            for _ in range(_WARM_UP_REQUESTS):
                await _get_anything(connection)
            connection.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(_WARM_UP_CLIENTS):
                group.create_task(ask_many())

    async def run(self, seconds: float) -> None:
        """For so long; then each finishes what it does."""
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                for _ in range(kind.count):
                    group.create_task(self._client(kind))
            for _ in range(_SOCKETS):
                group.create_task(self._websockets())
            await asyncio.sleep(seconds)
            self._stopping.set()

    async def _client(self, kind: Kind) -> None:
        while not self._stopping.is_set():
            opened_at = now()
            connection: Connection | None = None
            try:
                if kind.tls:
                    connection = await Connection.open(self._ports.https, self._ports.tls)
                else:
                    connection = await Connection.open(self._ports.http)
                for _ in range(_KEPT_REQUESTS if kind.keeps else 1):
                    await kind.deed(connection)
                    self._ledger.done[kind.name] += 1
                    await asyncio.sleep(kind.pause_s * random.uniform(0.5, 1.5))
                    if self._stopping.is_set() or not connection.kept:
                        break
            except (OSError, EOFError, ValueError, Wrong) as problem:
                await self._failed(kind.name, problem, opened_at)
            finally:
                if connection is not None:
                    connection.close()

    async def _websockets(self) -> None:
        """Echoes, some of them over TLS."""
        while not self._stopping.is_set():
            opened_at = now()
            tls = random.random() < 0.3
            scheme, port = ("wss", self._ports.https) if tls else ("ws", self._ports.http)
            try:
                async with (
                    asyncio.timeout(PATIENCE_S),
                    aiohttp.ClientSession(connector=_Local(ssl=self._ports.tls)) as session,
                    session.ws_connect(f"{scheme}://{HOST}:{port}/ws") as socket,
                ):
                    for number in range(_MESSAGES):
                        await socket.send_str(str(number))
                        message = await socket.receive()
                        if message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE}:
                            raise ConnectionError(f"the WebSocket ended after {number} messages: {message}")
                        if message.data != str(number):
                            raise Wrong(f"echo of {number}: {message}")
                        await asyncio.sleep(_TRICKLE_S)
                self._ledger.done["websocket"] += 1
            except (OSError, aiohttp.ClientConnectionError, Wrong) as problem:
                await self._failed("websocket", problem, opened_at)
            except aiohttp.ClientError as problem:
                await self._failed("websocket", Wrong(repr(problem)), opened_at)

    async def _failed(self, client: str, problem: Exception, opened_at: float) -> None:
        cut = not isinstance(problem, (Wrong, TimeoutError, ValueError, ssl.SSLCertVerificationError))
        self._ledger.failures.append(Failure(client, repr(problem)[:200], opened_at, now(), cut))
        await asyncio.sleep(_AGAIN_S)


class _Local(aiohttp.TCPConnector):
    """Every host is here."""

    async def _resolve_host(self, host: str, port: int, traces: object = None) -> list[aiohttp.abc.ResolveResult]:
        return [
            aiohttp.abc.ResolveResult(hostname=host, host=ADDRESS, port=port, family=2, proto=0, flags=0),
        ]


def _expect(got: bytes, expected: bytes, what: str) -> None:
    if got != expected:
        raise Wrong(f"{what}: {got[:80]!r}")


async def _get(connection: Connection) -> None:
    target = f"/page/{random.randrange(_TARGETS)}"
    _expect(await connection.ask(target), b"hello", "GET")


async def _get_anything(connection: Connection) -> None:
    """A target that was never asked for before, and a field, too: memories of lines fill up, and are emptied."""
    number = next(_numbers)
    _expect(await connection.ask(f"/page?{number}", lines=(f"X-Number: {number}",)), b"hello", "GET")


async def _upload(connection: Connection) -> None:
    if random.random() < 0.5:
        lines, body = (f"Content-Length: {len(UPLOAD)}",), UPLOAD
    else:
        lines, body = ("Transfer-Encoding: chunked",), _CHUNKED_UPLOAD + b"0\r\n\r\n"
    _expect(await connection.ask("/count", "POST", lines, body), _UPLOAD_DIGEST, "upload")


async def _download(connection: Connection) -> None:
    _expect(await connection.ask(f"/download?blocks={_BLOCKS}"), BLOCK * _BLOCKS, "download")


async def _events(connection: Connection) -> None:
    got = await connection.ask(f"/events?events={_EVENTS}")
    _expect(got, b"".join(b"data: %d\n\n" % number for number in range(_EVENTS)), "events")


async def _leave_events(connection: Connection) -> None:
    """After some of them."""
    await connection.send("/events?events=100")
    async with asyncio.timeout(PATIENCE_S):
        status, _ = await connection.head()
        if status != 200:
            raise Wrong(f"events: {status}")
        seen = 0
        async for _ in connection.chunks():
            seen += 1
            if seen == 5:
                break
    connection.abort()


async def _abort(connection: Connection) -> None:
    """In the middle of a request or of an answer."""
    dice = random.randrange(4)
    if dice == 0:
        connection.writer.write(f"GET /page HTTP/1.1\r\nHost: {HOST}\r\nX-".encode())
    elif dice == 1:
        await connection.send("/count", "POST", ("Content-Length: 1000000",), UPLOAD)
    elif dice == 2:
        await connection.send("/slow")
    else:
        await connection.send("/download?blocks=200")
        async with asyncio.timeout(PATIENCE_S):
            await connection.reader.readexactly(1000)
    await asyncio.sleep(0.02 * random.random())
    connection.abort()


async def _trickle(connection: Connection) -> None:
    """A request in pieces, and an answer read in pieces."""
    text = f"GET /download?blocks=8 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    for at in range(0, len(text), 8):
        connection.writer.write(text[at : at + 8])
        await asyncio.sleep(_TRICKLE_S)
    async with asyncio.timeout(PATIENCE_S):
        status, fields = await connection.head()
        left = int(fields.get("content-length", "0"))
        if (status, left) != (200, 8 * len(BLOCK)):
            raise Wrong(f"a request in pieces: {status}")
        while left:
            left -= len(await connection.reader.readexactly(min(left, 4096)))
            await asyncio.sleep(0.002)


async def _garbage(connection: Connection) -> None:
    """What is no HTTP is answered 400, and the connection is closed."""
    connection.writer.write(
        random.choice((b"\0\1\2\3\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET \r\n\r\n"))
    )
    async with asyncio.timeout(PATIENCE_S):
        status, _ = await connection.answer()
        if status != 400 or await connection.reader.read(1):
            raise Wrong(f"garbage: {status}")


async def _silence(connection: Connection) -> None:
    """Who says nothing is cut; before or after a handshake."""
    async with asyncio.timeout(PATIENCE_S):
        if got := await connection.reader.read(1):
            raise Wrong(f"silence: {got!r}")


async def _unrouted(connection: Connection) -> None:
    """An answer of the program's own, and the connection stays."""
    connection.writer.write(b"GET /page HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        status, _ = await connection.answer()
    if status != 404:
        raise Wrong(f"no route: {status}")


_SOCKETS = 4
KINDS = (
    Kind("kept", 4, 0.03, _get, keeps=True),
    Kind("new", 2, 0.05, _get),
    Kind("new targets", 2, 0.03, _get_anything, keeps=True),
    Kind("kept TLS", 2, 0.05, _get, tls=True, keeps=True),
    Kind("new TLS", 1, 0.1, _get, tls=True),
    Kind("upload", 2, 0.2, _upload, keeps=True),
    Kind("upload TLS", 1, 0.3, _upload, tls=True),
    Kind("download", 2, 0.2, _download, keeps=True),
    Kind("download TLS", 1, 0.3, _download, tls=True),
    Kind("events", 2, 0.1, _events),
    Kind("events, left", 2, 0.1, _leave_events),
    Kind("aborted", 2, 0.1, _abort),
    Kind("aborted TLS", 1, 0.2, _abort, tls=True),
    Kind("in pieces", 2, 0.1, _trickle),
    Kind("garbage", 1, 0.2, _garbage),
    Kind("silent", 2, 0.1, _silence),
    Kind("silent TLS", 1, 0.1, _silence, tls=True),
    Kind("no route", 1, 0.1, _unrouted, keeps=True),
)
