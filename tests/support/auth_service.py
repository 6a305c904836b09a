"""An authentication service on a real socket: what it is asked, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.backend import Backend, Peer, backend

ALLOWED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def says(status: int, *lines: str, body: bytes = b"") -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status} X", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class AuthService:
    """`answer` is what it says next; None = nothing at all."""

    answer: bytes | None = ALLOWED
    asked: list[bytes] = field(default_factory=list)
    """Heads of requests, as they came."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A connection was closed while there was no answer on it."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    backend: Backend | None = None

    async def converse(self, peer: Peer) -> None:
        """Answer one request after the other."""
        while True:
            self.asked.append(await peer.head())
            self.arrived.set()
            if self.answer is None:
                await peer.eof()
                self.left.set()
                return
            await peer.send(self.answer)

    @property
    def port(self) -> int:
        assert self.backend is not None
        return self.backend.port

    def field(self, name: str, number: int = -1) -> str | None:
        """The value of a field of a request."""
        for line in self.asked[number].decode("latin-1").split("\r\n")[1:]:
            own, _, value = line.partition(":")
            if own.lower() == name.lower():
                return value.strip()
        return None


@asynccontextmanager
async def auth_service() -> AsyncIterator[AuthService]:
    """One on a free port of 127.0.0.1."""
    service = AuthService()
    async with backend(service.converse) as it:
        service.backend = it
        yield service
