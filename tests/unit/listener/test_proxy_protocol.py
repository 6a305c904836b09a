"""PROXY protocol, byte by byte as the specification lays it out (proxy-protocol.txt, sections 2.1 and 2.2)."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.listener.proxy_protocol import HEADER_BYTES, SIGNATURE, HeaderError, ProxyHeader, encode, parse

TCP4 = bytes.fromhex(
    "0d0a0d0a000d0a515549540a"  # the signature
    "21"  # version 2, PROXY
    "11"  # TCP over IPv4
    "000c"  # 12 bytes follow
    "c0000201" + "c6336407" + "dc04" + "01bb"
)
TCP6 = bytes.fromhex(
    "0d0a0d0a000d0a515549540a"
    "21"
    "21"  # TCP over IPv6
    "0024"  # 36 bytes follow
    "20010db8000000000000000000000001"
    "00000000000000000000000000000001"
    "0001"
    "ffff"
)
ADDRESSES = TCP4[16:]
ALL_ONES = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str)
ports = st.integers(0, 65535)


def version_2(body: bytes, *, command: int = 0x21, kind: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, kind]) + (len(body) if length is None else length).to_bytes(2, "big") + body


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def verdict(data: bytes) -> ProxyHeader | str | None:
    try:
        return parse(data)
    except HeaderError as problem:
        return str(problem)


# Written


def test_an_ipv4_connection_has_a_header_of_28_bytes() -> None:
    assert encode(("192.0.2.1", 56324), ("198.51.100.7", 443)) == TCP4


def test_an_ipv6_connection_has_a_header_of_52_bytes() -> None:
    assert encode(("2001:db8::1", 1), ("::1", 65535)) == TCP6


def test_an_ipv4_client_of_an_ipv6_socket_is_mapped_into_ipv6() -> None:
    header = encode(("192.0.2.1", 1), ("::1", 2))
    assert header[13] == 0x21
    assert header[16:32] == bytes.fromhex("00000000000000000000ffffc0000201")


# Read


@pytest.mark.parametrize(
    ("data", "source", "destination"),
    [
        # The examples of section 2.1, and its longest lines.
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", ("192.168.0.1", 56324), ("192.168.0.11", 443)),
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            ("255.255.255.255", 65535),
            ("255.255.255.255", 65535),
        ),
        (
            f"PROXY TCP6 {ALL_ONES} {ALL_ONES} 65535 65535\r\n".encode(),
            (ALL_ONES, 65535),
            (ALL_ONES, 65535),
        ),
        (b"PROXY TCP6 2001:DB8:0:0::1 ::1 0 80\r\n", ("2001:db8::1", 0), ("::1", 80)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 80\r\n", ("192.0.2.1", 1), ("::1", 80)),
        (TCP4, ("192.0.2.1", 56324), ("198.51.100.7", 443)),
        (TCP6, ("2001:db8::1", 1), ("::1", 65535)),
        (encode(("192.0.2.1", 1), ("::1", 2)), ("192.0.2.1", 1), ("::1", 2)),
        # ALPN, the checksum, what AWS calls its VPC endpoint, and one that is empty.
        (
            version_2(ADDRESSES + tlv(1, b"h2") + tlv(3, bytes(4)) + tlv(0xEA, b"\x01vpce-08d2") + tlv(4, b"")),
            ("192.0.2.1", 56324),
            ("198.51.100.7", 443),
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else "",
)
def test_a_header_says_who_the_client_is_and_what_it_has_connected_to(
    data: bytes, source: tuple[str, int], destination: tuple[str, int]
) -> None:
    header = ProxyHeader(len(data), source, destination)
    assert parse(data) == header
    assert parse(data + b"GET / HTTP/1.1\r\n\r\n") == header


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        b"PROXY UNKNOWN" + b" x" * 46 + b"\r\n",  # 107 bytes
        version_2(b"", command=0x20, kind=0x00),
        version_2(ADDRESSES, command=0x20, kind=0x11),
        version_2(b"whatever it says", command=0x20, kind=0xFF),
        version_2(b"", kind=0x00),
        version_2(b"whatever it says", kind=0x01),
        version_2(bytes(216), kind=0x31),
        version_2(bytes(216) + tlv(4, b"x"), kind=0x32),
        version_2(ADDRESSES, kind=0x12),
        version_2(ADDRESSES, kind=0x10),
    ],
    ids=lambda data: data[:50],
)
def test_a_proxy_that_speaks_for_itself_or_of_no_tcp_client_names_nobody(data: bytes) -> None:
    assert parse(data + b"GET") == ProxyHeader(len(data), None, None)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"G", "does not begin"),
        (b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "does not begin"),
        (b" PROXY UNKNOWN\r\n", "does not begin"),
        (b"PROXY\tUNKNOWN\r\n", "does not begin"),
        (b"\r\n\r\n\x00\r\nQUIT\r", "does not begin"),
        (b"\x16\x03\x01", "does not begin"),
        (b"PROXY UNKNOWN" + b" x" * 46 + b"x\r\n", "too long"),
        (b"PROXY " + b"x" * 101, "too long"),
        (b"PROXY \r\n", "malformed"),
        (b"PROXY UNKNOWNX\r\n", "malformed"),
        (b"PROXY UNKNOWN\n\r\n", "malformed"),
        (b"PROXY UNKNOWN a\rb\r\n", "malformed"),
        (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
        (b"PROXY TCP4\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "malformed"),
        (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
        (b"PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 \xd9\xa1 2\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "above 65535"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n", "above 65535"),
        (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "address"),
        (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "address"),
        (b"PROXY TCP4 192.0.513 192.0.2.2 1 2\r\n", "address"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2.3 1 2\r\n", "address"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "malformed"),
        (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "address"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "malformed"),
        (b"PROXY TCP6 1::2::3 ::1 1 2\r\n", "address"),
        (b"PROXY TCP6 12345::1 ::1 1 2\r\n", "address"),
        (SIGNATURE + b"\x11", "version or command"),
        (SIGNATURE + b"\x31", "version or command"),
        (SIGNATURE + b"\x22", "version or command"),
        (SIGNATURE + b"\x21\x41", "family or transport"),
        (SIGNATURE + b"\x21\x13", "family or transport"),
        (version_2(b"", length=HEADER_BYTES - 15), "longer than"),
        (version_2(b"", command=0x20, length=0xFFFF), "longer than"),
        (version_2(ADDRESSES[:-1]), "shorter than"),
        (version_2(ADDRESSES, kind=0x21), "shorter than"),
        (version_2(bytes(215), kind=0x31), "shorter than"),
        (version_2(ADDRESSES + b"\x04"), "TLVs"),
        (version_2(ADDRESSES + b"\x04\x00"), "TLVs"),
        (version_2(ADDRESSES + b"\x04\x00\x01"), "TLVs"),
        (version_2(ADDRESSES + tlv(4, b"x") + b"\x04\x00\x02x"), "TLVs"),
    ],
    ids=lambda value: value[:60] if isinstance(value, bytes) else "",
)
def test_what_is_no_header_is_refused_and_said(data: bytes, why: str) -> None:
    with pytest.raises(HeaderError, match=why):
        parse(data)
    with pytest.raises(HeaderError, match=why):
        parse(data + b"GET / HTTP/1.1\r\n\r\n")


def test_the_longest_header_is_read_and_none_of_a_byte_more() -> None:
    padding = HEADER_BYTES - 28 - 3
    longest = version_2(ADDRESSES + tlv(4, bytes(padding)))
    assert len(longest) == HEADER_BYTES
    assert parse(longest) == ProxyHeader(HEADER_BYTES, ("192.0.2.1", 56324), ("198.51.100.7", 443))
    with pytest.raises(HeaderError):
        parse(version_2(ADDRESSES + tlv(4, bytes(padding + 1))))


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        b"PROXY UNKNOWN\r\n",
        TCP4,
        TCP6,
        version_2(ADDRESSES + tlv(1, b"h2")),
        version_2(b"", command=0x20, kind=0x00),
    ],
    ids=lambda data: data[:40],
)
def test_as_long_as_it_is_not_whole_there_is_more_to_come(data: bytes) -> None:
    assert [parse(data[:end]) for end in range(len(data))] == [None] * len(data)


@given(source=ipv4 | ipv6, destination=ipv4 | ipv6, source_port=ports, destination_port=ports, more=st.binary())
def test_what_is_written_is_read_again(
    source: str, destination: str, source_port: int, destination_port: int, more: bytes
) -> None:
    written = encode((source, source_port), (destination, destination_port))
    assert parse(written + more) == ProxyHeader(len(written), (source, source_port), (destination, destination_port))


@given(source=ipv4 | ipv6, port=ports)
def test_a_line_of_version_1_says_what_version_2_says(source: str, port: int) -> None:
    family, local = ("TCP6", "::1") if ":" in source else ("TCP4", "127.0.0.1")
    line = f"PROXY {family} {source} {local} {port} 80\r\n".encode()
    found, same = parse(line), parse(encode((source, port), (local, 80)))
    assert found is not None
    assert same is not None
    assert (found.source, found.destination) == (same.source, same.destination)


pieces = st.sampled_from(
    [
        *(SIGNATURE, b"\x21\x11", b"\x20\x00", b"\x00\x0c", b"\x00\x00", b"\x04\x00\x01x", ADDRESSES),
        *(b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.1 ", b"::1 ", b"80", b" 1 ", b"\r\n"),
    ]
)


@given(st.binary(max_size=300) | st.lists(pieces | st.binary(max_size=3), max_size=14).map(b"".join))
def test_any_bytes_get_one_answer_however_they_are_cut(data: bytes) -> None:
    whole = verdict(data)
    for end in range(len(data)):
        part = verdict(data[:end])
        assert part is None or part == whole, "another verdict with more bytes"
    if isinstance(whole, ProxyHeader):
        assert whole.size <= min(len(data), HEADER_BYTES)
        assert verdict(data[: whole.size - 1]) is None
        for address, port in filter(None, (whole.source, whole.destination)):
            assert str(ipaddress.ip_address(address)) == address
            assert 0 <= port <= 65535


@given(st.sampled_from([TCP4, TCP6, version_2(ADDRESSES + tlv(1, b"h2"))]), st.data())
def test_any_changed_byte_of_a_header_gets_an_answer(header: bytes, choose: st.DataObject) -> None:
    at = choose.draw(st.integers(0, len(header) - 1))
    changed = header[:at] + bytes([choose.draw(st.integers(0, 255))]) + header[at + 1 :]
    with suppress(HeaderError):
        found = parse(changed)
        assert found is None or found.size <= HEADER_BYTES
