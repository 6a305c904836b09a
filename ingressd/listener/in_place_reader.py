"""InPlaceReader: stands between TLS and a protocol, and has what is decrypted written into one buffer of the process.

In: bytes in that buffer. Out: the same bytes to the protocol's data_received. To a protocol without a buffer, uvloop
hands each record in a new block of 256 KiB that it shrinks afterwards. Such a block is mapped and unmapped by malloc:
three system calls and a page fault for a small request, as many for each 16 KiB of an upload.
"""

from __future__ import annotations

import asyncio

_BUFFER = memoryview(bytearray(256 * 1024))
"""One for all connections: what is in it is taken out before the event loop goes on. As large as uvloop's own."""


class InPlaceReader(asyncio.BufferedProtocol):
    """A protocol, as the event loop sees it."""

    __slots__ = ("_data_received", "_protocol")

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._data_received = protocol.data_received

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        self._data_received(_BUFFER[:nbytes].tobytes())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._protocol.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """See asyncio.Protocol."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._protocol.resume_writing()
