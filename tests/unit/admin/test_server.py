"""The admin server on a socket opened by somebody else, and its answers to what is not HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from ingressd.admin.server import AdminServer
from ingressd.settings import Settings


class EmptyView:
    """A View of nothing."""

    def ready(self) -> bool:
        return False

    def condition(self) -> str:
        return "starting"

    def status(self) -> dict[str, Any]:
        return {}

    def faults(self) -> list[dict[str, Any]]:
        return []

    routes = services = certificates = reloads = faults

    def explain(self, url: str, method: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
        raise ValueError(url)

    async def metrics(self) -> bytes:
        return b""


@pytest.fixture
async def port() -> AsyncIterator[int]:
    sock = socket.create_server(("127.0.0.1", 0))
    number = sock.getsockname()[1]
    server = AdminServer(EmptyView(), Settings())
    await server.start([sock])
    yield number
    await server.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", number)


async def _exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_request_is_answered_without_a_server_field(port: int) -> None:
    answer = await _exchange(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"starting\n")
    assert b"\r\nServer:" not in answer


async def test_a_probe_without_host_is_answered(port: int) -> None:
    assert (await _exchange(port, b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Field<script>: x\r\n\r\n",
        b"<script>\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03<script>\r\n\r\n",
    ],
)
async def test_malformed_requests_are_not_echoed(
    port: int, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await _exchange(port, request_bytes)
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b"script" not in answer
    assert b"aiohttp" not in answer
    assert b"Python" not in answer
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
