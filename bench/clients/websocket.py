"""WebSocket: connections that each send a message, wait for its echo, and send the next (RFC 6455).

In: a port. Out: a Sample of messages. The frames are made once: the client costs as little as it can.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from typing import cast

import uvloop

from bench.clients.sample import ClientError, Sample, sample_of
from bench.process import ADDRESS

CONNECTIONS = 64
MESSAGE_BYTES = 125
"""The longest payload whose length fits the shortest frame head."""
OPEN_S = 15.0

_HEAD_END = b"\r\n\r\n"
_ECHO_BYTES = 2 + MESSAGE_BYTES


def frame() -> bytes:
    """A masked binary frame of MESSAGE_BYTES."""
    mask = b"\x37\xfa\x21\x3d"
    payload = bytes(b"x"[0] ^ mask[index % 4] for index in range(MESSAGE_BYTES))
    return bytes([0x82, 0x80 | MESSAGE_BYTES]) + mask + payload


class _Connection(asyncio.Protocol):
    def __init__(self, host: str, path: str, times_s: list[float], problems: list[str]) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._hello = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        self._times_s, self._problems = times_s, problems
        self._frame = frame()
        self._head: bytearray | None = bytearray()
        self._waiting_bytes = 0
        self._sent_at = 0.0
        self._ending = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if _HEAD_END in self._head and not self.opened.done():
                if self._head.startswith(b"HTTP/1.1 101"):
                    self._head = None
                    self.opened.set_result(None)
                else:
                    status = self._head.split(b"\r\n")[0].decode(errors="replace")
                    self.opened.set_exception(ClientError(f"no upgrade: {status}"))
            return
        self._waiting_bytes -= len(data)
        if self._waiting_bytes <= 0 and not self._ending:
            now = time.perf_counter()
            self._times_s.append(now - self._sent_at)
            self.send()

    def send(self) -> None:
        """Send the next message."""
        self._sent_at = time.perf_counter()
        self._waiting_bytes = _ECHO_BYTES
        self.transport.write(self._frame)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ClientError("closed before the upgrade"))
        elif not self._ending:
            self._problems.append(f"closed: {exc!r}")

    def end(self) -> None:
        """Close without another message."""
        self._ending = True
        self.transport.abort()


async def _run(port: int, host: str, path: str, seconds: float) -> Sample:
    loop = asyncio.get_running_loop()
    times_s: list[float] = []
    problems: list[str] = []
    connections = []
    try:
        for _ in range(CONNECTIONS):
            _transport, connection = await loop.create_connection(
                lambda: _Connection(host, path, times_s, problems), ADDRESS, port
            )
            connections.append(connection)
            await asyncio.wait_for(connection.opened, OPEN_S)
        started_at = time.perf_counter()
        for connection in connections:
            connection.send()
        await asyncio.sleep(seconds)
        lasted_s = time.perf_counter() - started_at
    finally:
        for connection in connections:
            connection.end()
    return sample_of(times_s, lasted_s, len(problems), problems[0] if problems else "")


def run_websockets(port: int, host: str, path: str, seconds: float) -> Sample:
    """Messages for `seconds`. Raises ClientError, OSError or TimeoutError when a connection does not open."""
    return uvloop.run(_run(port, host, path, seconds))
