"""ClientHello: never raises, however much has come; and the host is the one that OpenSSL reads.

In: the first bytes of a connection.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any

from ingressd.listener.client_hello import ClientHello, NeedMore, parse

WORDS = (
    b"\x16\x03\x01", b"\x16\x03\x03", b"\x01\x00", b"\x00\x00", b"\x00\x10", b"\x03\x03", b"\x00\x02\x13\x01",
    b"\x01\x00", b"a.test", b"localhost", b"\x02h2", b"\x08http/1.1", b"\x00\x2b\x00\x03\x02\x03\x04",
    b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03", b"127.0.0.1", b".", b"\x00\x00\x00\x0b\x00\x09\x00\x00\x06a.test",
    b"\xff\x01\x00\x01\x00", b"\x00\x0a\x00\x04\x00\x02\x00\x1d",
)  # fmt: skip

_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_asked: list[str | None] = []


def _remember(_connection: Any, name: str | None, _context: ssl.SSLContext) -> int:
    _asked.append(name)
    return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR


_context.sni_callback = _remember


def check(data: bytes) -> None:
    verdict = parse(data)
    for end in {*range(min(len(data), 80)), *range(80, len(data), 37)}:
        part = parse(data[:end])
        if isinstance(part, NeedMore):
            assert part.total_bytes > end, "asks for what it has"
            if isinstance(verdict, ClientHello):
                assert part.total_bytes <= len(data), "asks for more than it needs"
        else:
            assert part == verdict, "another verdict with more bytes"
    if isinstance(verdict, NeedMore):
        assert verdict.total_bytes > len(data)
        return
    if isinstance(verdict, ClientHello):
        assert verdict.server_name == verdict.server_name.lower()
        assert len(verdict.server_name) <= 253
    # OpenSSL takes more (an empty record before the first); what both take has one name.
    names = _by_openssl(data)
    if names and isinstance(verdict, ClientHello):
        theirs = (names[0] or "").lower().removesuffix(".")
        assert verdict.server_name in {theirs, ""}, (names, verdict)


def _by_openssl(data: bytes) -> list[str | None]:
    """The host that OpenSSL reads; empty when it comes to none."""
    _asked.clear()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = _context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(data)
    incoming.write_eof()
    with suppress(ssl.SSLError, UnicodeError, OSError):
        connection.do_handshake()
    return _asked
