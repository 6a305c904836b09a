"""What was accepted once is not parsed again: the answers must be those of the parser, and memory stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingressd.errors import LocalReply
from ingressd.http import codec
from ingressd.http.codec import MalformedResponse, RequestHeadReader, ResponseHeadReader
from ingressd.http.framing import request_framing, response_framing
from ingressd.http.line_memory import (
    BLOCK_BYTES,
    BLOCKS,
    DATED_BLOCKS,
    DATED_LINES,
    LINE_BYTES,
    LINES,
    START_BYTES,
    STARTS,
    LineMemory,
)
from ingressd.settings import Limits

LOOP = asyncio.new_event_loop()


@pytest.fixture(autouse=True, scope="module")
def _close_loop() -> Iterator[None]:
    yield
    LOOP.close()


def forget() -> None:
    """As in a worker that has just started."""
    codec._request_lines.__init__()  # type: ignore[misc]
    codec._response_lines.__init__()  # type: ignore[misc]
    codec._methods.clear()


def read_request(data: bytes) -> object:
    """What a reader makes of one head: its parts, or the status it is refused with."""
    try:
        head = RequestHeadReader(Limits(), LOOP).feed(data)
        if head is None:
            return None
        fields = head.block.fields
        request_framing(head.minor, fields)
    except LocalReply as reply:
        return reply.status
    if fields.host is None and head.host is None and head.minor:
        return 400  # the exchange's part of the same rule
    return (head.method, head.target, head.minor, head.lines)


def read_response(data: bytes) -> object:
    """The same of an endpoint's head. Its framing is part of it: that refuses what the parser has no say in."""
    try:
        head = ResponseHeadReader(Limits(), LOOP).feed(data)
        if head is None:
            return None
        response_framing("GET", head.status, head.fields, head.minor)
    except (MalformedResponse, LocalReply):
        return "malformed"
    return (head.status, head.reason, head.minor, head.lines)


FIRST_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"GET /a?b=c HTTP/1.1",
        b"GET / HTTP/1.0",
        b"POST /a HTTP/1.1",
        b"get / HTTP/1.1",
        b"BREW / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET http://a/ HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/2.0",
    ]
)
FIELDS = st.sampled_from(
    [
        b"Host: a",
        b"host:a",
        b"Host: a b",
        b"X-One: 1",
        b"X-One : 1",
        b" folded",
        b"\tfolded",
        b"X-Two:",
        b"X\x00: 1",
        b"X: a\x00",
        b"X: a\rb",
        b"X: a\nb",
        b"no colon",
        b": empty",
        b"Cookie: a=b; c=d",
        b"User-Agent: a",
        b"Content-Type: a/b",
        b"content-type: c/d",
        b"ETag: x",
        b"Sec-WebSocket-Key1: 1",
        b"X: \xe9\xff",
        b"(X): 1",
        b"Connection: close",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Content-Length: 5",
        b"Content-Length: 5, 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, identity",
    ]
)
HEADS = st.tuples(FIRST_LINES, st.lists(FIELDS, max_size=5)).map(lambda parts: _head(*parts))


def _head(start: bytes, fields: list[bytes]) -> bytes:
    return b"\r\n".join((start, *fields)) + b"\r\n\r\n"


@settings(max_examples=400, deadline=None)
@given(st.lists(HEADS, max_size=12), HEADS)
def test_a_memory_never_changes_what_a_request_head_is(before: list[bytes], head: bytes) -> None:
    forget()
    fresh = read_request(head)
    forget()
    for each in before:
        read_request(each)
    assert read_request(head) == fresh
    assert read_request(head) == fresh


@settings(max_examples=200, deadline=None)
@example([[b"Content-Length: 5"]], [b"Content-Length: 5", b"Content-Length: 5"])
@given(st.lists(st.lists(FIELDS, max_size=5), max_size=8), st.lists(FIELDS, max_size=5))
def test_a_memory_never_changes_what_a_response_head_is(before: list[list[bytes]], fields: list[bytes]) -> None:
    head = _head(b"HTTP/1.1 200 OK", fields)
    forget()
    fresh = read_response(head)
    forget()
    for each in before:
        read_response(_head(b"HTTP/1.1 200 OK", each))
    assert read_response(head) == fresh


def test_a_request_that_says_how_long_it_is_is_always_parsed() -> None:
    forget()
    for framing in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        assert isinstance(read_request(_head(b"POST / HTTP/1.1", [b"Host: a", framing])), tuple)
        assert framing not in codec._request_lines.lines
    both = [b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: chunked"]
    assert read_request(_head(b"POST / HTTP/1.1", both)) == 400


def test_limits_hold_for_what_is_remembered() -> None:
    forget()
    head = _head(b"GET / HTTP/1.1", [b"Host: a", b"X-One: 1", b"X-Two: 2"])
    for _ in range(2):
        assert isinstance(read_request(head), tuple)
    for limits in (Limits(request_fields=2), Limits(header_line_bytes=6)):
        with pytest.raises(LocalReply) as caught:
            RequestHeadReader(limits, LOOP).feed(head)
        assert caught.value.status == 431


def test_memory_is_bounded_in_count_and_size() -> None:
    memory: LineMemory[int, int] = LineMemory()
    for number in range(STARTS + BLOCKS + 10):
        memory.learn([b"X: %d" % number, b"X: " + b"1" * LINE_BYTES])
        memory.learn_start(b"GET /%d" % number, number)
        memory.learn_block(b"%d" % number, number)
    memory.learn_start(b"x" * (START_BYTES + 1), 1)
    memory.learn_block(b"x" * (BLOCK_BYTES + 1), 1)
    assert 0 < len(memory.lines) <= LINES
    assert 0 < len(memory.starts) <= STARTS
    assert 0 < len(memory.blocks) <= BLOCKS
    assert max(map(len, memory.lines)) <= LINE_BYTES
    assert max(map(len, memory.blocks)) <= BLOCK_BYTES
    dated: LineMemory[int, int] = LineMemory(DATED_LINES, DATED_BLOCKS)
    for number in range(DATED_LINES + 10):
        dated.learn([b"X: %d" % number])
        dated.learn_block(b"%d" % number, number)
    assert b"%d" % (DATED_LINES + 9) in dated.blocks
    assert b"%d" % (DATED_LINES + 9 - DATED_BLOCKS) not in dated.blocks
    assert 0 < len(dated.blocks) <= DATED_BLOCKS
    assert 0 < len(dated.lines) <= DATED_LINES
