"""Connection: an HTTP/1.1 client that repeats nothing, so that nothing that fails is hidden."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence

from soak import ADDRESS, HOST

PATIENCE_S = 20.0
_LIMIT_BYTES = 1 << 20


class Wrong(Exception):
    """An answer that is not the expected one."""


class Connection:
    """One connection to the program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.kept = True
        """The server will take another request."""

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None) -> Connection:
        name = HOST if tls else None
        async with asyncio.timeout(PATIENCE_S):
            return cls(*await asyncio.open_connection(ADDRESS, port, ssl=tls, server_hostname=name, limit=_LIMIT_BYTES))

    async def ask(self, path: str, method: str = "GET", lines: Sequence[str] = (), body: bytes = b"") -> bytes:
        """The body of a 200. Raises Wrong, ConnectionError, EOFError or TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            await self.send(path, method, lines, body)
            status, answer = await self.answer()
        if status != 200:
            raise Wrong(f"{method} {path}: {status} {answer[:80]!r}")
        return answer

    async def send(self, path: str, method: str = "GET", lines: Sequence[str] = (), body: bytes = b"") -> None:
        head = "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {HOST}", *lines, "", ""))
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.kept = fields.get("connection", "").lower() != "close"
        return int(start.split()[1]), fields

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        status, fields = await self.head()
        if fields.get("transfer-encoding") == "chunked":
            return status, b"".join([chunk async for chunk in self.chunks()])
        return status, await self.reader.readexactly(int(fields.get("content-length", "0")))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks of a body as they come."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readuntil(b"\r\n")

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        """With a reset, as a client that was killed."""
        self.writer.transport.abort()


def now() -> float:
    """The clock of the ledger."""
    return time.monotonic()
