"""What is decrypted reaches the protocol whole and in order, through the buffer that all connections share."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from ingressd.listener.in_place_reader import InPlaceReader
from tests.support.certificates import issue, trusting
from tests.support.loops import on_both_loops

CERTIFICATE = issue("shop.test")
LONG = b"".join(number.to_bytes(4, "big") for number in range(250_000))


class Echo(asyncio.Protocol):
    """Sends back what it gets, and tells what became of it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.told: list[str] = []
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


class Site:
    """A TLS server of Echoes on the running loop."""

    def __init__(self) -> None:
        self.echoes: list[Echo] = []

    async def start(self, context: ssl.SSLContext) -> int:
        """Listen; returns the port."""
        self.server = await asyncio.get_running_loop().create_server(self._made, "127.0.0.1", 0, ssl=context)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    def _made(self) -> InPlaceReader:
        self.echoes.append(Echo())
        return InPlaceReader(self.echoes[-1])


def serving(tmp_path: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain, key = f"{tmp_path}/chain.pem", f"{tmp_path}/key.pem"
    for path, content in ((chain, CERTIFICATE.chain_pem), (key, CERTIFICATE.key_pem)):
        with open(path, "wb") as file:
            file.write(content)
    context.load_cert_chain(chain, key)
    return context


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="shop.test")


@on_both_loops
async def test_more_than_the_buffer_holds_comes_whole_and_in_order(tmp_path: object) -> None:
    site = Site()
    reader, writer = await connect(await site.start(serving(tmp_path)))
    writer.write(LONG)
    assert await asyncio.wait_for(reader.readexactly(len(LONG)), 20) == LONG
    (echo,) = site.echoes
    assert all(type(piece) is bytes for piece in echo.pieces)
    assert echo.told[:2] in ([], ["pause", "resume"])
    writer.close()
    await asyncio.wait_for(echo.ended.wait(), 10)
    assert echo.told[-1] == "eof"
    site.server.close()


@on_both_loops
async def test_what_one_connection_got_stays_its_own_when_another_reads_into_the_buffer(tmp_path: object) -> None:
    site = Site()
    port = await site.start(serving(tmp_path))
    clients = [await connect(port) for _ in range(3)]
    for turn in range(20):
        for number, (_, writer) in enumerate(clients):
            writer.write(f"{number}:{turn};".encode() * (turn + 1))
        for number, (reader, _) in enumerate(clients):
            sent = f"{number}:{turn};".encode() * (turn + 1)
            assert await asyncio.wait_for(reader.readexactly(len(sent)), 10) == sent
    said = sorted(b"".join(echo.pieces) for echo in site.echoes)
    assert said == [
        b"".join(f"{number}:{turn};".encode() * (turn + 1) for turn in range(20)) for number in range(len(clients))
    ]
    for _, writer in clients:
        writer.close()
    for echo in site.echoes:
        await asyncio.wait_for(echo.ended.wait(), 10)
    site.server.close()
