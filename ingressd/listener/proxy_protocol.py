"""PROXY protocol version 2: the header that tells an endpoint whose connection it is (HAProxy proxy-protocol.txt 2.2).

In: the addresses of the client's connection. Out: the bytes that a connection to the endpoint begins with.
"""

from __future__ import annotations

import socket
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

_VERSION_2_PROXY = 0x21
_TCP_OVER_IPV4 = 0x11
_TCP_OVER_IPV6 = 0x21
_IPV4_IN_IPV6 = "::ffff:"


def encode(client: tuple[str, int], local: tuple[str, int]) -> bytes:
    """The header of a TCP connection from `client` to `local`, each an address and a port.

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


def _ipv6(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address if ":" in address else _IPV4_IN_IPV6 + address)
