"""PROXY protocol version 2, byte by byte as the specification lays it out (proxy-protocol.txt, section 2.2)."""

from __future__ import annotations

from ingressd.listener.proxy_protocol import encode


def test_an_ipv4_connection_has_a_header_of_28_bytes() -> None:
    assert encode(("192.0.2.1", 56324), ("198.51.100.7", 443)) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a"  # the signature
        "21"  # version 2, PROXY
        "11"  # TCP over IPv4
        "000c"  # 12 bytes follow
        "c0000201" + "c6336407" + "dc04" + "01bb"
    )


def test_an_ipv6_connection_has_a_header_of_52_bytes() -> None:
    assert encode(("2001:db8::1", 1), ("::1", 65535)) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a"
        "21"
        "21"  # TCP over IPv6
        "0024"  # 36 bytes follow
        "20010db8000000000000000000000001"
        "00000000000000000000000000000001"
        "0001"
        "ffff"
    )


def test_an_ipv4_client_of_an_ipv6_socket_is_mapped_into_ipv6() -> None:
    header = encode(("192.0.2.1", 1), ("::1", 2))
    assert header[13] == 0x21
    assert header[16:32] == bytes.fromhex("00000000000000000000ffffc0000201")
