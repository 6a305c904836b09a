"""Who the client is, when a trusted proxy passes on what the client wrote."""

from __future__ import annotations

import pytest

from ingressd.http.edited_lines import EditedLines
from ingressd.http.fields import request_fields
from ingressd.http.forwarded import ForwardedBlock, TrustedProxies, new_request_id

PROXY = "10.0.0.1"
CLIENT = "203.0.113.9"


def told(*lines: bytes) -> tuple[str, dict[bytes, bytes]]:
    """The client's address, and the fields for the upstream, of a request that comes from a trusted proxy."""
    said = request_fields(lines, 1)
    block = ForwardedBlock(TrustedProxies(["10.0.0.0/8", "fd00::/8"]), PROXY, "http", 80)
    rendered = block.render(said, b"a", "id").removesuffix(b"\r\n").split(b"\r\n")
    fields = {name: value for name, _, value in (line.partition(b": ") for line in rendered)}
    return block.origin(said).address, fields


@pytest.mark.parametrize(
    "chain",
    [
        b"for=203.0.113.9",
        b"for=203.0.113.9;proto=https;host=a",
        b'for="203.0.113.9:4711"',
        b"for=203.0.113.9:4711",
        b'For = 1, for="203.0.113.9"'.replace(b" = ", b"="),
        b'for=6.6.6.6, for=203.0.113.9;host="a:8080", for="[fd00::7]:80";by=_edge',
        b'for=203.0.113.9;host="a\\"b, for=6.6.6.6"',
        b"for=203.0.113.9 ; proto=http ,, for=10.0.0.7,",
    ],
)
def test_the_client_is_the_nearest_address_that_is_not_trusted(chain: bytes) -> None:
    address, fields = told(b"Forwarded: " + chain)
    assert address == CLIENT
    assert fields[b"Forwarded"] == chain + b", for=10.0.0.1;host=a;proto=http"


@pytest.mark.parametrize(
    "written",
    [b'for=6.6.6.6;x="', b'for=6.6.6.6;x="\\', b'"', b'for=6.6.6.6, "', b'for=6.6.6.6;x="y" "', b'for="6.6.6.6'],
)
@pytest.mark.parametrize(
    "appended", [b"for=203.0.113.9", b'for=203.0.113.9;host="a:8080"', b'for="203.0.113.9:80";by="[fd00::1]:443"']
)
def test_a_quote_that_a_client_leaves_open_does_not_choose_the_address(written: bytes, appended: bytes) -> None:
    address, fields = told(b"Forwarded: %b, %b" % (written, appended))
    assert address in {CLIENT, PROXY}
    assert b"6.6.6.6" not in fields[b"X-Forwarded-For"]


def test_forwarded_that_is_malformed_is_neither_believed_nor_passed_on() -> None:
    address, fields = told(b'Forwarded: for=6.6.6.6;proto=https;x=", for=203.0.113.9;host="a:8080"')
    assert address == PROXY
    assert fields[b"X-Forwarded-Proto"] == b"http"
    assert fields[b"Forwarded"] == b"for=10.0.0.1;host=a;proto=http"


def test_what_a_client_writes_in_x_forwarded_for_does_not_choose_the_address() -> None:
    address, _ = told(b'X-Forwarded-For: 6.6.6.6, "for=6.6.6.6, ,10.0.0.3x, 203.0.113.9, 10.0.0.2')
    assert address == CLIENT


def test_one_client_s_requests_for_very_many_hosts_each_name_their_own() -> None:
    block = ForwardedBlock(TrustedProxies(), CLIENT, "http", 80)
    said = request_fields([], 1)
    for number in (*range(100), *range(100)):
        rendered = block.render(said, b"h%d.test" % number, f"id{number}")
        assert b"\r\nForwarded: for=203.0.113.9;host=h%d.test;proto=http\r\n" % number in rendered
        assert rendered.startswith(b"X-Forwarded-Host: h%d.test\r\n" % number)
        assert rendered.endswith(b"X-Request-ID: id%d\r\n" % number)


def test_request_ids_are_32_hexadecimal_digits_and_differ() -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(bytes.fromhex(one)) == 16 for one in ids)


@pytest.mark.parametrize("lines", [(b"Host: a", b"X-One: 1"), (b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-A: b")])
@pytest.mark.parametrize("peer", [PROXY, "192.0.2.1"])
def test_the_lines_that_filters_change_are_those_that_would_be_sent(lines: tuple[bytes, ...], peer: str) -> None:
    block = ForwardedBlock(TrustedProxies(["10.0.0.0/8"]), peer, "https", 443)
    for host, identity in ((b"a", "1"), (b"a", "2"), (b"b", "3")):
        said = request_fields(lines, 1)
        edited = block.edited(said, host, identity)
        assert b"".join(edited.lines) == said.kept_bytes + block.render(said, host, identity)
        assert edited.names == EditedLines(edited.lines).names
        edited.set("X-Request-ID", "changed")
        edited.remove("X-Real-IP")


def test_the_lines_for_filters_are_kept_for_a_few_hosts_only() -> None:
    block = ForwardedBlock(TrustedProxies(), CLIENT, "http", 80)
    said = request_fields((), 1)
    for number in range(40):
        host = b"h%d.test" % number
        assert block.edited(said, host, "id").values("x-forwarded-host") == [host.decode()]
    assert len(block._split) < 20
