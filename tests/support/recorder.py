"""Recorder: a backend that reads requests as strictly as RFC 9112 can be read, keeps them, and plays a script.

In: the steps of a script, one for each request in the order of arrival; then it answers with what it was asked.
Out: what it saw. A request that two parsers could read in two ways is kept as a fault, and fails the test.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.answers import field_values
from tests.support.backend import abort

_HEAD = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n"
)
_SIZE = re.compile(rb"[0-9a-fA-F]+\r\n")
KEEP, CLOSE, RESET, HOLD = "keep", "close", "reset", "hold"


@dataclass(frozen=True, slots=True)
class Step:
    """What is done with one request."""

    pieces: tuple[bytes, ...] = ()
    """Sent one after the other, so that they are read apart."""
    early: bool = False
    """Answer after the head, before the body is read."""
    then: str = KEEP
    """KEEP the connection, CLOSE it, RESET it, or HOLD it open without a word until the other side closes it."""
    later: bytes = b""
    """Sent when the test lets it go (`Recorder.let_go`): bytes on an idle connection."""


@dataclass(slots=True)
class Seen:
    """One request: its head as it came, its body decoded."""

    head: bytes
    body: bytes = b""
    framed: bytes = b""
    """The body as it came."""
    complete: bool = False


class Recorder:
    """What a backend saw on all its connections."""

    def __init__(self, name: str, script: Sequence[Step] = ()) -> None:
        self.name = name
        self.port = 0
        self.connections = 0
        self.requests: list[Seen] = []
        self.faults: list[str] = []
        self.idle_ended = asyncio.Event()
        """A connection that got `later` bytes was closed by the other side."""
        self._script = list(script)
        self._let_go = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    def let_go(self) -> None:
        """Send what the script sends later."""
        self._let_go.set()

    def close(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            abort(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self._writers.append(writer)
        try:
            while await self._converse(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        except asyncio.LimitOverrunError:
            self.faults.append("a head without end")
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self.faults.append(f"half a head: {error.partial!r}")
            return False
        seen = Seen(head)
        self.requests.append(seen)
        step = self._script.pop(0) if self._script else None
        if _HEAD.fullmatch(head) is None:
            self.faults.append(f"malformed head: {head!r}")
            return False
        if step is None or not step.early:
            await self._read_body(reader, seen)
        if step is None:
            writer.write(saw(seen))
            return True
        for piece in step.pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(3):
                await asyncio.sleep(0)
        if step.later:
            await self._let_go.wait()
            writer.write(step.later)
            await reader.read(-1)
            self.idle_ended.set()
            return False
        if step.then == RESET:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif step.then == HOLD:
            await reader.read(-1)
        elif step.early and step.then == KEEP:
            await self._read_body(reader, seen)
        return step.then == KEEP

    async def _read_body(self, reader: asyncio.StreamReader, seen: Seen) -> None:
        lengths, codings = field_values(seen.head, b"content-length"), field_values(seen.head, b"transfer-encoding")
        if len(lengths) + len(codings) > 1 or len(field_values(seen.head, b"host")) != 1:
            self.faults.append(f"more than one framing, or not one Host: {seen.head!r}")
        if codings:
            if codings[0] != b"chunked":
                self.faults.append(f"unknown coding: {seen.head!r}")
            await self._read_chunks(reader, seen)
        elif lengths:
            missing = int(lengths[0])
            while missing:
                data = await reader.read(missing)
                if not data:
                    raise asyncio.IncompleteReadError(seen.body, missing)
                seen.body += data
                missing -= len(data)
            seen.framed = seen.body
        seen.complete = True

    async def _read_chunks(self, reader: asyncio.StreamReader, seen: Seen) -> None:
        while True:
            line = await reader.readuntil(b"\r\n")
            if _SIZE.fullmatch(line) is None:
                self.faults.append(f"malformed chunk size: {line!r}")
                raise ConnectionError
            size = int(line, 16)
            data = await reader.readexactly(size)
            seen.body += data
            seen.framed += line + data + b"\r\n"
            if await reader.readexactly(2) != b"\r\n":
                self.faults.append("chunk without its line end, or a trailer")
                raise ConnectionError
            if not size:
                return


def saw(seen: Seen) -> bytes:
    """The answer that says whose it is: its body is the request's method and target."""
    body = b" ".join(seen.head.split(b" ", 2)[:2])
    content = b"" if body.startswith(b"HEAD ") else body
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), content)


@asynccontextmanager
async def recording(name: str, script: Sequence[Step] = ()) -> AsyncIterator[Recorder]:
    """A recorder on a free port of 127.0.0.1 for the time of the block."""
    recorder = Recorder(name, script)
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0, limit=1 << 20)
    recorder.port = server.sockets[0].getsockname()[1]
    try:
        yield recorder
    finally:
        server.close()
        recorder.close()
