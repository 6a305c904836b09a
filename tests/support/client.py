"""Client: a raw connection that keeps every byte it got, whatever way the connection ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from tests.support.answers import Answer, read_answers

_PATIENCE_S = 30.0


class Client(asyncio.Protocol):
    """One client connection. `closed` is set when the other side has closed or reset it."""

    def __init__(self) -> None:
        self.received = b""
        self.reset = False
        """The connection ended with a TCP reset."""
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._news = asyncio.Event()

    @classmethod
    async def connect(cls, port: int) -> Client:
        """Connect to 127.0.0.1."""
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reset = exc is not None
        self.closed = True
        self._news.set()

    def send(self, data: bytes) -> None:
        """Send these bytes; a connection that is gone swallows them."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)

    async def send_pieces(self, pieces: Sequence[bytes]) -> None:
        """Send the pieces so that the other side, on this loop, reads one after the other."""
        for piece in pieces:
            self.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)

    def close(self) -> None:
        """Close this side."""
        if self._transport is not None:
            self._transport.abort()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for what arriving bytes or the end of the connection bring about."""
        async with asyncio.timeout(_PATIENCE_S):
            while not happened():
                self._news.clear()
                await self._news.wait()

    async def until_closed(self) -> None:
        """Wait until the other side has closed the connection."""
        await self.until(lambda: self.closed)

    async def answers(self, count: int, methods: Sequence[str]) -> list[Answer]:
        """Wait for `count` final answers, or for the end of the connection; interim answers are among them."""
        read: list[Answer] = []

        def happened() -> bool:
            nonlocal read
            read, _ = read_answers(self.received, methods, closed=self.closed)
            return self.closed or sum(answer.status >= 200 for answer in read) >= count

        await self.until(happened)
        return read
