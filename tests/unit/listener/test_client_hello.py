"""ClientHellos: read from real ones, from forged ones, and from no ClientHello at all."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.listener.client_hello import ClientHello, NeedMore, NotTls, parse


def real(server_name: str | None = "shop.test", alpn: tuple[str, ...] = ("h2", "http/1.1")) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def block(content: bytes, length_bytes: int) -> bytes:
    return len(content).to_bytes(length_bytes, "big") + content


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack("!H", kind) + block(content, 2)


def server_name(name: bytes, kind: int = 0) -> bytes:
    return extension(0, block(bytes([kind]) + block(name, 2), 2))


def message(
    *extensions: bytes, session_id: bytes = b"", suites: bytes = b"\x13\x01", compression: bytes = b"\x00"
) -> bytes:
    """A ClientHello as a handshake message, without records."""
    body = b"\x03\x03" + bytes(32) + block(session_id, 1) + block(suites, 2) + block(compression, 1)
    if extensions:
        body += block(b"".join(extensions), 2)
    return b"\x01" + block(body, 3)


def records(content: bytes, size: int = 1 << 14) -> bytes:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"\x16\x03\x01" + block(piece, 2) for piece in pieces)


@pytest.mark.parametrize("name", ["shop.test", "SHOP.Test", "a.b.c.d.example", "xn--bcher-kva.test", "localhost"])
@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("h2", "http/1.1")])
def test_a_real_client_hello_names_its_host_and_its_protocols(name: str, alpn: tuple[str, ...]) -> None:
    expected = ClientHello(name.lower(), tuple(protocol.encode() for protocol in alpn))
    assert parse(real(name, alpn)) == expected


def test_a_real_client_hello_without_a_name_has_none() -> None:
    assert parse(real(None, ())) == ClientHello("", ())


def test_every_truncation_of_a_real_client_hello_asks_for_more_and_says_how_much() -> None:
    whole = real()
    for count in range(len(whole)):
        found = parse(whole[:count])
        assert isinstance(found, NeedMore), count
        assert count < found.total_bytes <= len(whole)
        assert found.total_bytes == (5 if count < 5 else len(whole))


@given(size=st.integers(40, 600))
def test_a_client_hello_cut_into_records_reads_the_same_and_asks_record_by_record(size: int) -> None:
    whole = real()
    cut = records(whole[5:], size)
    assert parse(cut) == parse(whole)
    have = 0
    looks = 0
    while isinstance(found := parse(cut[:have]), NeedMore):
        assert have < found.total_bytes <= len(cut)
        have = found.total_bytes
        looks += 1
    assert found == parse(whole)
    assert have == len(cut)
    assert looks <= 2 * -(-len(whole) // size)


@given(size=st.integers(40, 600), count=st.integers(0, 2000))
def test_every_truncation_between_records_asks_for_more(size: int, count: int) -> None:
    cut = records(real()[5:], size)
    if count < len(cut):
        assert isinstance(parse(cut[:count]), NeedMore)


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    assert isinstance(parse(data), ClientHello | NeedMore | NotTls)


@given(st.binary(max_size=400))
def test_any_bytes_in_a_handshake_record_get_an_answer(data: bytes) -> None:
    assert isinstance(parse(b"\x16\x03\x01" + block(data, 2)), ClientHello | NotTls | NeedMore)
    assert isinstance(parse(records(b"\x01" + block(data, 3))), ClientHello | NotTls)


@given(at=st.integers(5, 10_000), value=st.integers(0, 255), more=st.binary(max_size=40))
def test_any_changed_byte_of_a_real_client_hello_gets_an_answer(at: int, value: int, more: bytes) -> None:
    changed = bytearray(real())
    changed[at % len(changed)] = value
    found = parse(bytes(changed) + more)
    assert isinstance(found, ClientHello | NeedMore | NotTls)
    if isinstance(found, NeedMore):
        assert found.total_bytes > len(changed) + len(more)


@given(st.binary(min_size=1, max_size=400))
def test_missing_bytes_are_never_counted_below_what_is_there(data: bytes) -> None:
    found = parse(b"\x16\x03" + data)
    if isinstance(found, NeedMore):
        assert 2 + len(data) < found.total_bytes <= 64 * (5 + (1 << 14))


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6))
def test_protocols_come_in_the_client_s_order(protocols: list[bytes]) -> None:
    offered = extension(16, block(b"".join(block(protocol, 1) for protocol in protocols), 2))
    assert parse(records(message(offered))) == ClientHello("", tuple(protocols))


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"\x00",
        b"\x80\x2e\x01\x00\x02",  # SSL 2
        b"\x15\x03\x01\x00\x02\x02\x70",
        b"\x17\x03\x03\x00\x05hello",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x30\x02",
        records(b"\x01\x00\x40\x01"),
        records(b"\x01\xff\xff\xff"),
    ],
)
def test_what_is_no_client_hello_is_told_from_its_first_bytes(data: bytes) -> None:
    assert isinstance(parse(data), NotTls)


def test_a_client_hello_of_the_longest_length_is_read_and_a_longer_one_refused() -> None:
    padding = (1 << 14) - len(message(server_name(b"a.test"), extension(21, b""))) + 4
    longest = message(server_name(b"a.test"), extension(21, bytes(padding)))
    assert len(longest) == (1 << 14) + 4
    assert parse(records(longest)) == ClientHello("a.test", ())
    longer = message(server_name(b"a.test"), extension(21, bytes(padding + 1)))
    assert isinstance(parse(records(longer)), NotTls)


def test_a_client_hello_in_records_of_one_byte_is_refused_before_it_costs_time() -> None:
    whole = message(server_name(b"a.test"), session_id=bytes(32))
    assert isinstance(parse(records(whole, 1)), NotTls)
    assert parse(records(whole, 2)) == ClientHello("a.test", ())


def test_nothing_behind_the_client_hello_is_looked_at() -> None:
    assert parse(records(message(server_name(b"a.test"))) + b"\xff" * 100) == ClientHello("a.test", ())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"Shop.TEST", "shop.test"),
        (b"shop.test.", "shop.test"),
        (b"_dmarc.a_b.test", "_dmarc.a_b.test"),
        (b"1.a.test", "1.a.test"),
        (b"1and1", "1and1"),
        (b"a" * 63 + b".test", "a" * 63 + ".test"),
        (b".".join([b"a" * 61] * 4) + b".test", ".".join(["a" * 61] * 4) + ".test"),
        (b".".join([b"a" * 62] * 4) + b".tests", ""),
        (b"a" * 64 + b".test", ""),
        (b"192.0.2.1", ""),
        (b"2001:db8::1", ""),
        (b"[::1]", ""),
        (b"1234", ""),
        (b"", ""),
        (b".", ""),
        (b"a..test", ""),
        (b".a.test", ""),
        (b"a.test..", ""),
        (b"-a.test", ""),
        (b"a-.test", ""),
        (b"*.test", ""),
        (b"a b.test", ""),
        (b"a.test\n", ""),
        (b"a.test\x00", ""),
        (b"a.test:443", ""),
        (b"a/../b", ""),
        ("bücher.test".encode(), ""),
        (b"\xff\xfe", ""),
    ],
)
def test_only_a_host_name_is_a_server_name(name: bytes, expected: str) -> None:
    found = parse(records(message(server_name(name), extension(16, block(block(b"h2", 1), 2)))))
    assert found == ClientHello(expected, (b"h2",))


@pytest.mark.parametrize(
    "hello",
    [
        message(server_name(b"a.test"), server_name(b"b.test")),
        message(server_name(b"a.test", kind=1)),
        message(extension(0, b"")),
        message(extension(0, b"\x00\x00")),
        message(extension(0, block(b"\x00\xff\xffa.test", 2))),
        message(extension(0, block(b"\x00" + block(b"a.test", 2), 2) + b"more")),
        message(extension(16, b"\x00\x05\x02h2")),
        message(extension(16, block(b"\x09h2", 2))),
        message(b"\x00\x00\xff\xff"),
        message(b"\x00"),
        message(session_id=bytes(33)),
        message(suites=b""),
        message(suites=b"\x13\x01\x13"),
        message(compression=b""),
        b"\x01" + block(b"", 3),
        b"\x01" + block(bytes(34), 3),
        b"\x01" + block(message(server_name(b"a.test"))[4:] + b"more", 3),
    ],
)
def test_a_client_hello_whose_lengths_lie_is_none(hello: bytes) -> None:
    assert isinstance(parse(records(hello)), NotTls)


def test_a_client_hello_without_extensions_is_one() -> None:
    assert parse(records(message())) == ClientHello("", ())


@given(st.binary(max_size=255))
def test_a_server_name_is_always_lower_case_ascii(name: bytes) -> None:
    found = parse(records(message(server_name(name))))
    assert isinstance(found, ClientHello)
    assert found.server_name == found.server_name.lower()
    assert found.server_name.isascii()
    assert len(found.server_name) <= 253
