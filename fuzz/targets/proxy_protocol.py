"""PROXY headers: however they are cut, one answer; what is read can be written again; lines are read beside a second
reader, which splits them into words.

In: the first bytes of a connection of a trusted proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from fuzz.targets.cuts import ways
from ingressd.listener.proxy_protocol import HEADER_BYTES, SIGNATURE, HeaderError, ProxyHeader, encode, parse

WORDS = (
    SIGNATURE, b"\x21\x11\x00\x0c", b"\x21\x21\x00\x24", b"\x20\x00\x00\x00", b"\x21\x31\x00\xd8", b"\x21\x12\x00\x0c",
    b"\x21\x00", b"\x04\x00\x00", b"\x03\x00\x04", b"\x20\x00\x05\x01\x00\x00\x00\x00", b"\xea\x00\x05\x01vpce",
    b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"PROXY UNKNOWN\r\n", b"192.0.2.1 ", b"2001:db8::1 ",
    b"::ffff:192.0.2.1 ", b"255.255.255.255", b"65535", b"65536", b" 0", b" ", b"\r\n", b"GET / HTTP/1.1\r\n",
)  # fmt: skip

_LINE_BYTES = 107

Verdict = ProxyHeader | str | None
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check(data: bytes) -> None:
    whole = _verdict(data)
    for pieces in ways(data[: 2 * HEADER_BYTES], data[0] if data else 0):
        assert _read(pieces) == whole, "where it is cut makes a difference"
    if isinstance(whole, ProxyHeader):
        _sound(whole, data)
    if data.startswith(b"PROXY ") and (b"\r\n" in data[:_LINE_BYTES] or len(data) >= _LINE_BYTES):
        theirs = _by_words(data[:_LINE_BYTES])
        ours = (whole.source, whole.destination) if isinstance(whole, ProxyHeader) else None
        assert ours == theirs, (ours, theirs)


def _verdict(data: bytes) -> Verdict:
    try:
        return parse(data)
    except HeaderError as problem:
        return str(problem)


def _read(pieces: list[bytes]) -> Verdict:
    """The first verdict, as more and more comes."""
    head = b""
    for piece in pieces:
        head += piece
        verdict = _verdict(head)
        if verdict is not None:
            return verdict
    return _verdict(head)


def _sound(header: ProxyHeader, data: bytes) -> None:
    assert 0 < header.size <= min(len(data), HEADER_BYTES)
    assert _verdict(data[: header.size - 1]) is None, "whole before its end"
    assert _verdict(data[: header.size]) == header, "what is behind it makes a difference"
    assert (header.source is None) == (header.destination is None)
    if header.source is None or header.destination is None:
        return
    for address, port in (header.source, header.destination):
        found = ipaddress.ip_address(address)
        assert str(found) == address
        assert not isinstance(found, ipaddress.IPv6Address) or found.ipv4_mapped is None
        assert 0 <= port <= 65535
    written = encode(header.source, header.destination)
    assert parse(written) == ProxyHeader(len(written), header.source, header.destination)


def _by_words(data: bytes) -> tuple[tuple[str, int] | None, tuple[str, int] | None] | None:
    """The addresses in a line of version 1; None: it is none."""
    line, end, _ = data.partition(b"\r\n")
    words = line.split(b" ")
    if not end or b"\r" in line or b"\n" in line:
        return None
    if words[1] == b"UNKNOWN":
        return None, None
    kinds: dict[bytes, Callable[[str], Address]] = {b"TCP4": ipaddress.IPv4Address, b"TCP6": ipaddress.IPv6Address}
    if words[1] not in kinds or len(words) != 6:
        return None
    try:
        source, destination = (kinds[words[1]](word.decode("ascii")) for word in words[2:4])
    except ValueError:
        return None
    ports = [int(word) for word in words[4:] if word.isdigit() and str(int(word)).encode() == word]
    if len(ports) != 2 or max(ports) > 65535 or b"%" in line:
        return None
    return (_plain(source), ports[0]), (_plain(destination), ports[1])


def _plain(address: Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
