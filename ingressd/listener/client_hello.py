"""ClientHello: what a TLS client asks for, before TLS begins (RFC 8446 section 4.1.2, RFC 6066 section 3).

In: the first bytes of a connection, which stay in its socket. Out: the host and the protocols that the client
names, how many bytes are missing, or that this is no TLS. It judges nothing that OpenSSL judges later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RECORD_HEADER_BYTES = 5
_RECORD_BYTES = 16 * 1024  # RFC 8446 section 5.1
_MESSAGE_HEADER_BYTES = 4
_MESSAGE_BYTES = 16 * 1024  # Envoy's max_client_hello_size; a ClientHello with a post-quantum key has 2 KiB
_RECORDS = 64  # each costs a look at all before it; clients that cut a ClientHello at all use two or three

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0
_ALPN = 16
_VERSION_AND_RANDOM_BYTES = 34
_SESSION_ID_BYTES = 32

_HOST_BYTES = 253
_LABEL = rb"[A-Za-z0-9_](?:[A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?"
_is_host = re.compile(rb"(?:" + _LABEL + rb"\.)*(?![0-9]++\Z)" + _LABEL).fullmatch  # all digits at the end: IPv4


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A whole ClientHello."""

    server_name: str
    """The host that the client wants, in lower case; empty when it names none, an address or no host name."""
    alpn: tuple[bytes, ...]
    """The protocols that it offers, the one it likes best first."""


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The ClientHello is not whole yet."""

    total_bytes: int
    """Nothing new can be said before the connection has sent this many bytes in all."""


@dataclass(frozen=True, slots=True)
class NotTls:
    """No ClientHello, and none if more bytes come."""

    why: str


class _LengthError(Exception):
    """A length inside the ClientHello is a lie."""


def parse(data: bytes) -> ClientHello | NeedMore | NotTls:
    """Read the ClientHello at the start of `data`. Never raises, whatever the bytes are."""
    message = bytearray()
    at = 0
    for _ in range(_RECORDS):
        header = data[at : at + _RECORD_HEADER_BYTES]
        if problem := _header_problem(header):
            return NotTls(problem)
        at += _RECORD_HEADER_BYTES
        if len(header) < _RECORD_HEADER_BYTES:
            return NeedMore(at)
        end = at + int.from_bytes(header[3:])
        message += data[at:end]
        if problem := _message_problem(message):
            return NotTls(problem)
        if end > len(data):
            return NeedMore(end)
        at = end
        if len(message) >= _MESSAGE_HEADER_BYTES:
            message_end = _MESSAGE_HEADER_BYTES + int.from_bytes(message[1:_MESSAGE_HEADER_BYTES])
            if len(message) >= message_end:
                return _client_hello(bytes(message[_MESSAGE_HEADER_BYTES:message_end]))
    return NotTls("ClientHello in too many records")


def _header_problem(header: bytes) -> str:
    """What is wrong with a record header, as far as it came."""
    if header[:1] not in (b"", b"\x16"):
        return "no handshake record"
    if header[1:2] not in (b"", b"\x03"):
        return "unknown record version"
    if len(header) == _RECORD_HEADER_BYTES and not 0 < int.from_bytes(header[3:]) <= _RECORD_BYTES:
        return "bad record length"
    return ""


def _message_problem(message: bytearray) -> str:
    """What is wrong with the handshake message, as far as it came."""
    if message and message[0] != _CLIENT_HELLO:
        return "no ClientHello"
    if len(message) >= _MESSAGE_HEADER_BYTES and int.from_bytes(message[1:_MESSAGE_HEADER_BYTES]) > _MESSAGE_BYTES:
        return "ClientHello too long"
    return ""


def _client_hello(body: bytes) -> ClientHello | NotTls:
    try:
        extensions = _extensions(body)
        return ClientHello(_server_name(extensions.get(_SERVER_NAME)), _protocols(extensions.get(_ALPN)))
    except _LengthError:
        return NotTls("malformed ClientHello")


def _extensions(body: bytes) -> dict[int, bytes]:
    """The extensions by type; TLS allows each once."""
    session_id, at = _block(body, _VERSION_AND_RANDOM_BYTES, 1)
    cipher_suites, at = _block(body, at, 2)
    compression, at = _block(body, at, 1)
    if len(session_id) > _SESSION_ID_BYTES or len(cipher_suites) < 2 or len(cipher_suites) % 2 or not compression:
        raise _LengthError
    found: dict[int, bytes] = {}
    if at == len(body):
        return found
    block, at = _block(body, at, 2)
    if at != len(body):
        raise _LengthError
    at = 0
    while at < len(block):
        kind = int.from_bytes(block[at : at + 2])
        content, at = _block(block, at + 2, 2)
        if kind in found:
            raise _LengthError
        found[kind] = content
    return found


def _server_name(extension: bytes | None) -> str:
    if extension is None:
        return ""
    names, end = _block(extension, 0, 2)
    kind = names[:1]
    name, _ = _block(names, 1, 2)  # RFC 6066 allows one name of a type, and there is one type
    if end != len(extension) or kind != bytes([_HOST_NAME]):
        raise _LengthError
    name = name.removesuffix(b".")
    if len(name) > _HOST_BYTES or not _is_host(name):
        return ""
    return name.decode("ascii").lower()


def _protocols(extension: bytes | None) -> tuple[bytes, ...]:
    if extension is None:
        return ()
    names, end = _block(extension, 0, 2)
    if end != len(extension):
        raise _LengthError
    protocols = []
    at = 0
    while at < len(names):
        protocol, at = _block(names, at, 1)
        protocols.append(protocol)
    return tuple(protocols)


def _block(data: bytes, at: int, length_bytes: int) -> tuple[bytes, int]:
    """The block whose length stands before it at `at`, and where it ends. Raises _LengthError."""
    start = at + length_bytes
    if start > len(data):
        raise _LengthError
    end = start + int.from_bytes(data[at:start])
    if end > len(data):
        raise _LengthError
    return data[start:end], end
