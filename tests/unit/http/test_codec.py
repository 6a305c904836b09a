"""The codec's contract: which bytes are a head, which are refused, and with what."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply
from ingressd.http.codec import (
    MalformedResponse,
    RequestHead,
    RequestHeadReader,
    ResponseHeadReader,
)
from ingressd.settings import Limits

LOOP = asyncio.new_event_loop()
GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-One: 1\r\n\r\n"


@pytest.fixture(autouse=True, scope="module")
def _close_loop() -> Iterator[None]:
    yield
    LOOP.close()


def reader(**limits: int) -> RequestHeadReader:
    return RequestHeadReader(Limits(**limits), LOOP)  # type: ignore[arg-type]


def read(data: bytes, **limits: int) -> RequestHead | None:
    return reader(**limits).feed(data)


def refused(data: bytes, **limits: int) -> int:
    with pytest.raises(LocalReply) as caught:
        read(data, **limits)
    assert caught.value.close
    return caught.value.status


def test_a_whole_head_gives_its_parts_as_sent() -> None:
    head = read(GET)
    assert head is not None
    assert (head.method, head.target, head.minor) == ("GET", "/a?b=c", 1)
    assert head.lines == [b"Host: x", b"X-One: 1"]


def test_what_follows_a_head_is_left_over() -> None:
    it = reader()
    assert it.feed(GET + b"BODY") is not None
    assert it.leftover == b"BODY"


def test_heads_follow_each_other_on_one_reader() -> None:
    it = reader()
    for target in ("/1", "/2", "/3"):
        head = it.feed(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert head is not None
        assert head.target == target


def test_a_body_announced_in_the_head_does_not_disturb_the_next_head() -> None:
    it = reader()
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
    assert it.feed(post + b"hello") is not None
    assert it.leftover == b"hello"
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert it.feed(chunked) is not None
    assert it.feed(GET) is not None


def test_an_upgrade_does_not_disturb_the_next_head() -> None:
    it = reader()
    upgrade = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert it.feed(upgrade) is not None
    assert it.feed(GET) is not None


@given(st.lists(st.integers(1, len(GET) - 1), unique=True))
def test_a_head_may_come_in_any_pieces(cuts: list[int]) -> None:
    it = reader()
    edges = [0, *sorted(cuts), len(GET)]
    heads = [it.feed(GET[a:b]) for a, b in itertools.pairwise(edges)]
    assert heads[:-1] == [None] * (len(heads) - 1)
    assert heads[-1] is not None
    assert heads[-1].lines == [b"Host: x", b"X-One: 1"]
    assert it.leftover == b""


@given(st.integers(1, len(GET) - 1))
def test_a_head_split_once_keeps_what_follows(cut: int) -> None:
    it = reader()
    data = GET + b"rest"
    assert it.feed(data[:cut]) is None
    assert it.feed(data[cut:]) is not None
    assert it.leftover == b"rest"


def test_one_empty_line_before_the_request_line_is_ignored() -> None:
    assert read(b"\r\n" + GET) is not None
    it = reader()
    assert it.feed(b"\r") is None
    assert it.feed(b"\n" + GET) is not None


@given(st.integers(1, 3))
def test_a_second_empty_line_is_refused_however_it_comes(cut: int) -> None:
    it = reader()
    data = b"\r\n\r\n" + GET
    with pytest.raises(LocalReply):
        assert it.feed(data[:cut]) is None
        it.feed(data[cut:])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /456789012345678901 HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long-Name: 1234567890123456789\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n", 431),
    ],
)
def test_a_refusal_is_the_same_however_the_bytes_come(data: bytes, status: int) -> None:
    limits = {"request_line_bytes": 30, "header_line_bytes": 30, "request_fields": 3}
    assert refused(data, **limits) == status
    for cut in range(1, len(data)):
        it = reader(**limits)
        with pytest.raises(LocalReply) as caught:
            it.feed(data[:cut])
            it.feed(data[cut:])
        assert caught.value.status == status, cut


def test_heads_at_their_bounds_pass_however_the_bytes_come() -> None:
    data = b"GET /5678901234567890 HTTP/1.1\r\nHost: x\r\nA: 345678901234567890\r\n\r\n"
    for cut in range(1, len(data)):
        it = reader(request_line_bytes=30, header_line_bytes=21, request_fields=2, request_head_bytes=len(data))
        assert it.feed(data[:cut]) is None
        assert it.feed(data[cut:]) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n" + GET,
        b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: x\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\xe2\x80: y\r\n\r\n",
    ],
)
def test_a_malformed_head_is_refused_with_400(data: bytes) -> None:
    assert refused(data) == 400


def test_garbage_is_refused_before_the_head_is_whole() -> None:
    assert refused(b"GET / HTTP/1.1\r\nHost: x\nX") == 400
    it = reader()
    assert it.feed(b"\r") is None
    with pytest.raises(LocalReply):
        it.feed(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/2"])
def test_another_major_version_is_505(version: bytes) -> None:
    assert refused(b"GET / " + version + b"\r\nHost: x\r\n\r\n") == 505


@pytest.mark.parametrize("start", [b"G\xe9T /", b"GET \x7f", b"\x80 /"])
def test_another_major_version_of_what_is_no_request_line_is_400_however_it_is_cut(start: bytes) -> None:
    data = start + b" HTTP/2.1\r\nHost: x\r\n\r\n"
    assert refused(data) == 400
    it = reader()
    with pytest.raises(LocalReply) as refusal:
        for at in range(len(data)):
            it.feed(data[at : at + 1])
    assert refusal.value.status == 400


def test_an_http2_preface_is_505() -> None:
    assert refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505


@pytest.mark.parametrize("method", [b"FOO", b"get", b"BREW-COFFEE"])
def test_an_unknown_method_is_501(method: bytes) -> None:
    assert refused(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n") == 501


def test_oversize_has_its_own_answers() -> None:
    assert refused(b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", request_line_bytes=256) == 414
    assert refused(b"GET /" + b"a" * 300, request_line_bytes=256) == 414
    assert refused(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 300 + b"\r\n\r\n", header_line_bytes=256) == 431
    assert refused(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20 + b"\r\n", request_fields=10) == 431
    assert refused(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 80 + b"\r\n", request_head_bytes=256) == 431
    assert refused(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 80, request_head_bytes=256) == 431


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_local_reply(data: bytes) -> None:
    it = reader()
    try:
        it.feed(data)
        it.feed(b"\r\n\r\n")
    except LocalReply as reply:
        assert 400 <= reply.status <= 505


def response(data: bytes, **limits: int) -> ResponseHeadReader:
    it = ResponseHeadReader(Limits(**limits), LOOP)  # type: ignore[arg-type]
    it.feed(data)
    return it


def test_a_response_head_gives_its_parts_as_sent() -> None:
    it = ResponseHeadReader(Limits(), LOOP)
    assert it.feed(b"HTTP/1.1 200 Very") is None
    head = it.feed(b" Good\r\nContent-Length: 3\r\nX: \xe9\r\n\r\nabc")
    assert head is not None
    assert (head.status, head.reason, head.minor) == (200, b"Very Good", 1)
    assert head.lines == [b"Content-Length: 3", b"X: \xe9"]
    assert it.leftover == b"abc"


def test_response_heads_follow_each_other() -> None:
    it = ResponseHeadReader(Limits(), LOOP)
    first = it.feed(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    assert first is not None
    assert first.status == 103
    second = it.feed(it.leftover)
    assert second is not None
    assert second.status == 200


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.0 404 Not Found"])
def test_a_reason_phrase_is_optional(line: bytes) -> None:
    it = ResponseHeadReader(Limits(), LOOP)
    assert it.feed(line + b"\r\nA: b\r\n\r\n") is not None


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nA: b\n\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"hello, world",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ],
)
def test_a_malformed_response_head_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        response(data)


def test_a_response_head_without_end_is_refused() -> None:
    with pytest.raises(MalformedResponse):
        response(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, response_head_bytes=512)
    with pytest.raises(MalformedResponse):
        response(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20 + b"\r\n", response_fields=10)


@given(st.binary(max_size=200))
def test_no_response_bytes_raise_anything_else(data: bytes) -> None:
    it = ResponseHeadReader(Limits(), LOOP)
    try:
        it.feed(data)
        it.feed(b"\r\n\r\n")
    except MalformedResponse:
        pass
