"""Hosts and ports: what a Host field may be, and what routes are matched by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply, Reason
from ingressd.http import authority
from ingressd.http.authority import canonical_host, split_port


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        (b"a.example", "a.example"),
        (b"A.EXAMPLE", "a.example"),
        (b"a.example:8080", "a.example"),
        (b"a.example:", "a.example"),
        (b"a.example.", "a.example"),
        (b"a.example.:80", "a.example"),
        (b"a.example..", "a.example."),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"a_b.example", "a_b.example"),
        (b"192.0.2.1:80", "192.0.2.1"),
        (b"[2001:DB8::1]:80", "[2001:db8::1]"),
        (b"[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
        (b"%41.example", "%41.example"),
        (b"localhost", "localhost"),
    ],
)
def test_case_port_and_one_trailing_dot_do_not_matter(raw: bytes, host: str) -> None:
    assert canonical_host(raw) == host
    assert canonical_host(raw) == host


MALFORMED = [
    b"",
    b".",
    b":80",
    b".:80",
    b" ",
    b"a b",
    b" a",
    b"a\t",
    b"a, b",
    b"user@a.example",
    b"a.example/",
    b"a.example\\b",
    b"a?b",
    b"a#b",
    b"a%zz",
    b"a%4",
    b"%",
    b"a:80:80",
    b"a:8o",
    b"a:+80",
    b"a:-1",
    b"a: 80",
    b"a:0",
    b"a:65536",
    b"a:000080",
    b"a:99999",
    b"a\x00",
    b"a\n",
    b"a\x7f",
    b"\xe9.example",
    "é.example".encode(),
    "a.example:٨٠".encode(),
    b"::1",
    b"[::1",
    b"::1]",
    b"[]",
    b"[:::]",
    b"[a.example]",
    b"[fe80::1%25eth0]",
    b"[v1.x]",
    b"[::1]a",
    b'"a"',
    b"<a>",
    b"{a}",
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_what_is_no_authority_is_refused(raw: bytes) -> None:
    for _ in range(2):
        with pytest.raises(LocalReply) as caught:
            canonical_host(raw)
        assert (caught.value.status, caught.value.reason, caught.value.close) == (400, Reason.BAD_REQUEST, True)


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (b"A.example", (b"A.example", None)),
        (b"a.example:", (b"a.example", None)),
        (b"a.example.:1", (b"a.example.", 1)),
        (b"a.example:65535", (b"a.example", 65535)),
        (b"a.example:0080", (b"a.example", 80)),
        (b"[::1]:443", (b"[::1]", 443)),
    ],
)
def test_an_authority_is_split_into_host_and_port(raw: bytes, parts: tuple[bytes, int | None]) -> None:
    assert split_port(raw) == parts


def test_only_a_bounded_number_of_short_hosts_is_remembered() -> None:
    for number in range(authority._REMEMBERED + 10):
        canonical_host(b"h%d.example" % number)
    assert len(authority._hosts) <= authority._REMEMBERED
    long = b"a" * 300
    assert canonical_host(long) == "a" * 300
    assert long not in authority._hosts


@given(st.binary(max_size=30) | st.text(alphabet="aA.:[]%4f1@_-é ", max_size=12).map(str.encode))
def test_any_bytes_give_a_host_or_a_local_reply(raw: bytes) -> None:
    try:
        host = canonical_host(raw)
    except LocalReply:
        return
    assert host
    assert host.isascii()
    assert host.isprintable()
    assert host == host.lower()
    assert not set(host) & set(' @/\\?#,"<>') - {","}
    assert canonical_host(raw.upper()) == host
