"""Probe: one health check of one target, as it is asked over the network.

In: a HealthTarget. Out: a Result: good or not, and why in words. Nothing that an endpoint sends can hold it up for
longer than the check's timeout, or make it keep more than 64 KiB.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import NamedTuple

import aiohttp
from yarl import URL

from ingressd.table.health import HealthTarget

BODY_BYTES = 64 * 1024
"""Of an answer, so much is searched."""
USER_AGENT = "ingressd-health"


class Result(NamedTuple):
    """What came of it."""

    good: bool
    detail: str
    took_s: float


class _CutOff(Exception):
    """There is no answer."""

    def __init__(self, cause: OSError | aiohttp.ServerDisconnectedError) -> None:
        super().__init__(cause)
        self.cause = cause


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp would send a GET again that was cut off; here that is a result like any other."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _CutOff(error) from error


class Probe:
    """Asks. Certificates are not looked at, as they are not for requests; a proxy of the environment is not used."""

    def __init__(self) -> None:
        self._tls = _unverified()
        connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=self._tls)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"},
            auto_decompress=False,
            trust_env=False,
            middlewares=(_once,),
        )

    async def close(self) -> None:
        """Ask nothing any more."""
        await self._session.close()

    async def ask(self, target: HealthTarget) -> Result:
        """One check. Never raises but for being cancelled."""
        check, began = target.check, time.monotonic()
        try:
            async with asyncio.timeout(check.timeout_s):
                if check.path:
                    problem, detail = await self._http(target)
                else:
                    problem, detail = await self._connect(target)
        except TimeoutError:
            problem, detail = True, f"no answer within {check.timeout_s:g} s"
        except _CutOff as cut:
            problem, detail = True, _words(cut.cause)
        except (OSError, aiohttp.ClientError, ValueError) as error:
            problem, detail = True, _words(error)
        return Result(not problem, detail, time.monotonic() - began)

    async def _http(self, target: HealthTarget) -> tuple[bool, str]:
        """Whether there is a problem, and the answer in words."""
        check = target.check
        name = check.host.partition(":")[0] if check.host[:1] != "[" else ""
        async with self._session.get(
            URL(f"{check.kind}://{target}{check.path}", encoded=True),
            headers={"Host": check.host} if check.host else None,
            server_hostname=name or None,
            allow_redirects=False,
        ) as response:
            if not check.accepts(response.status):
                return True, f"status {response.status}"
            if check.body and not await _contains(response.content, check.body.encode()):
                return True, f"status {response.status}, but its body does not contain {check.body!r}"
            return False, f"status {response.status}"

    async def _connect(self, target: HealthTarget) -> tuple[bool, str]:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (target.address, target.port))
            if target.check.kind == "tcp":
                return False, "connected"
            name = target.check.host.partition(":")[0]
            transport, _ = await loop.create_connection(
                asyncio.Protocol, sock=sock, ssl=self._tls, server_hostname=name
            )
            transport.abort()
            return False, "TLS handshake done"


async def _contains(content: aiohttp.StreamReader, text: bytes) -> bool:
    """Whether `text` is in the first BODY_BYTES."""
    seen = bytearray()
    while len(seen) < BODY_BYTES:
        data = await content.read(BODY_BYTES - len(seen))
        if not data:
            break
        start = max(0, len(seen) - len(text) + 1)
        seen += data
        if seen.find(text, start) >= 0:
            return True
    return False


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _words(error: Exception) -> str:
    """Short, and without what the target's name says already."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
