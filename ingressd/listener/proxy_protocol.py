"""PROXY protocol: the header that tells whose connection it is (HAProxy proxy-protocol.txt): written for endpoints in
version 2, read from a proxy before this one in version 1 and 2.

In: the addresses of the client's connection, or the first bytes of a proxy's. Out: the other one of the two. It never
knows whom to believe.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_BYTES = 2048
"""More than any header has that names addresses and a few TLVs; nginx reads 4096, Envoy 65,551."""

_VERSION_2 = 2
_VERSION_2_PROXY = 0x21
_LOCAL, _PROXY = 0, 1
_FAMILIES = 4  # unspecified, IPv4, IPv6, Unix
_TRANSPORTS = 3  # unspecified, stream, datagram
_TCP_OVER_IPV4 = 0x11
_TCP_OVER_IPV6 = 0x21
_IPV4_IN_IPV6 = "::ffff:"

_FIXED_BYTES = 16
"""Of version 2: signature, version and command, family and transport, length of the rest."""
_ADDRESS_BYTES = (0, 4, 16, 108)
"""Of one address, by family."""
_PORT_FAMILIES = (1, 2)
_TLV_BYTES = 3
"""Of a type and a length, before the value."""

_VERSION_1 = b"PROXY "
_LINE_BYTES = 107  # the specification's own bound, with CRLF
_line = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*+)?"
    rb"|TCP4 ([0-9.]{7,15}) ([0-9.]{7,15}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
    rb"|TCP6 ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
).fullmatch

Address = tuple[str, int]
"""An address as gate.plain_address has it, and a port."""


class HeaderError(ValueError):
    """No PROXY header, and none if more bytes come. The message says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header."""

    size: int
    """Its bytes: what comes after them is the client's."""
    source: Address | None
    """The client; None: the proxy speaks for itself (LOCAL), or cannot say who its client is (UNKNOWN)."""
    destination: Address | None
    """What the client has connected to; None whenever `source` is."""


def encode(client: Address, local: Address) -> bytes:
    """The header of a TCP connection from `client` to `local`.

    If either address is IPv6, so is the other in the header: IPv4 is mapped into it.
    """
    if ":" in client[0] or ":" in local[0]:
        family = _TCP_OVER_IPV6
        addresses = _ipv6(client[0]) + _ipv6(local[0])
    else:
        family = _TCP_OVER_IPV4
        addresses = socket.inet_aton(client[0]) + socket.inet_aton(local[0])
    body = addresses + struct.pack("!HH", client[1], local[1])
    return SIGNATURE + struct.pack("!BBH", _VERSION_2_PROXY, family, len(body)) + body


def parse(data: bytes) -> ProxyHeader | None:
    """Read the header at the start of `data`. None: all of `data` belongs to it, and more has to come.

    Raises HeaderError and nothing else, whatever the bytes are.
    """
    if data.startswith(SIGNATURE[: len(data)]):
        return _version_2(data)
    if data.startswith(_VERSION_1[: len(data)]):
        return _version_1(data)
    raise HeaderError("it does not begin with a PROXY header")


def _version_1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _LINE_BYTES)
    if end < 0:
        if len(data) >= _LINE_BYTES:
            raise HeaderError("the line of version 1 is too long")
        return None
    found = _line(data[: end + 2])
    if found is None:
        raise HeaderError("the line of version 1 is malformed")
    family, at = (socket.AF_INET, 1) if found[1] else (socket.AF_INET6, 5)
    if found[at] is None:
        return ProxyHeader(end + 2, None, None)
    source, destination, source_port, destination_port = found.groups()[at - 1 : at + 3]
    return ProxyHeader(end + 2, _written(family, source, source_port), _written(family, destination, destination_port))


def _written(family: socket.AddressFamily, address: bytes, port: bytes) -> Address:
    try:
        # inet_pton: neither octal numbers nor addresses of fewer than four.
        packed = socket.inet_pton(family, address.decode("ascii"))
    except OSError:
        raise HeaderError("an address in the line of version 1 is malformed") from None
    if int(port) > 65535:
        raise HeaderError("a port in the line of version 1 is above 65535")
    return _plain(packed), int(port)


def _version_2(data: bytes) -> ProxyHeader | None:
    at = len(SIGNATURE)
    command = _PROXY
    if len(data) > at:
        version, command = divmod(data[at], 16)
        if version != _VERSION_2 or command not in (_LOCAL, _PROXY):
            raise HeaderError("unknown version or command")
    if len(data) > at + 1:
        family, transport = divmod(data[at + 1], 16)
        if command == _PROXY and not (family < _FAMILIES and transport < _TRANSPORTS):
            raise HeaderError("unknown address family or transport")
    if len(data) < _FIXED_BYTES:
        return None
    size = _FIXED_BYTES + int.from_bytes(data[_FIXED_BYTES - 2 : _FIXED_BYTES])
    if size > HEADER_BYTES:
        raise HeaderError(f"longer than {HEADER_BYTES} bytes")
    if len(data) < size:
        return None
    if command == _LOCAL or not family:
        return ProxyHeader(size, None, None)  # whatever else it says is to be ignored
    return _addresses(data[_FIXED_BYTES:size], size, data[at + 1])


def _addresses(body: bytes, size: int, kind: int) -> ProxyHeader:
    family = kind // 16
    width = _ADDRESS_BYTES[family]
    end = 2 * width + (4 if family in _PORT_FAMILIES else 0)
    if len(body) < end:
        raise HeaderError("shorter than its addresses")
    _check_tlvs(body, end)
    if kind not in (_TCP_OVER_IPV4, _TCP_OVER_IPV6):
        return ProxyHeader(size, None, None)  # a Unix socket, or datagrams: no address that a TCP client has
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * width)
    return ProxyHeader(size, (_plain(body[:width]), source_port), (_plain(body[width : 2 * width]), destination_port))


def _check_tlvs(body: bytes, at: int) -> None:
    """Types and values say nothing here, but their lengths must add up."""
    while at < len(body):
        at += _TLV_BYTES + int.from_bytes(body[at + 1 : at + _TLV_BYTES])
    if at != len(body):
        raise HeaderError("its TLVs do not end where it ends")


def _plain(packed: bytes) -> str:
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _ipv6(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address if ":" in address else _IPV4_IN_IPV6 + address)
