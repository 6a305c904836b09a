"""Backends on real sockets that send exactly the bytes a test gives them, and keep what they were sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Conversation = Callable[["Peer"], Awaitable[None]]


def abort(writer: asyncio.StreamWriter) -> None:
    """Close at once. CPython 3.11's transport cannot be aborted when it closed by itself after a flush."""
    with suppress(AttributeError):
        writer.transport.abort()


class Peer:
    """One connection that the proxy opened to a backend."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = bytearray()
        self.closed = asyncio.Event()

    async def head(self) -> bytes:
        """The next request head, as it came."""
        data = await self.reader.readuntil(b"\r\n\r\n")
        self.received += data
        return data

    async def read(self, count: int) -> bytes:
        """Exactly `count` bytes of a body."""
        data = await self.reader.readexactly(count)
        self.received += data
        return data

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        data = await self.reader.readuntil(mark)
        self.received += data
        return data

    async def eof(self) -> bytes:
        """Everything until the proxy closes (or resets) the connection."""
        try:
            data = await self.reader.read(-1)
        except ConnectionError:
            data = b""
        self.received += data
        self.closed.set()
        return data

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with a TCP reset."""
        abort(self.writer)


class Backend:
    """A listening backend; `peers` are its connections in the order they came."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.peers: list[Peer] = []
        self.arrived = asyncio.Condition()
        self.port = 0
        self.errors: list[BaseException] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        async with self.arrived:
            self.arrived.notify_all()
        try:
            await self._conversation(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            peer.closed.set()
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            writer.close()

    async def peer(self, index: int) -> Peer:
        """The connection number `index`, as soon as it is there."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.peers) > index), 10)
        return self.peers[index]


@asynccontextmanager
async def backend(conversation: Conversation) -> AsyncIterator[Backend]:
    """A backend on a free port of 127.0.0.1 for the time of the block."""
    it = Backend(conversation)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, limit=1 << 24)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for peer in it.peers:
            abort(peer.writer)
        assert not it.errors, it.errors


async def echo(peer: Peer) -> None:
    """Answers every request with its head as the body; request bodies are read by Content-Length."""
    while True:
        head = await peer.head()
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                await peer.read(int(value))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


def answers(*responses: bytes, then_close: bool = False) -> Conversation:
    """Answers each request head on a connection with the next of `responses`."""

    async def conversation(peer: Peer) -> None:
        for response in responses:
            await peer.head()
            await peer.send(response)
        if not then_close:
            await peer.eof()

    return conversation
