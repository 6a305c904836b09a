"""Framing: where a body ends, by the steps of RFC 9112 section 6.3."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply, Reason
from ingressd.http.chunked import ChunkedDecoder
from ingressd.http.fields import request_fields, response_fields
from ingressd.http.framing import (
    CHUNKED,
    LAST_CHUNK,
    NONE,
    UNTIL_CLOSE,
    BodyFraming,
    LengthDecoder,
    UntilCloseDecoder,
    body_decoder,
    encode_chunk,
    request_framing,
    response_framing,
)
from ingressd.settings import Limits

LENGTH = b"Content-Length"
CODING = b"Transfer-Encoding"

BAD_LENGTHS = [
    b"",
    b"+5",
    b"-5",
    b"0x5",
    b"5_0",
    b'"5"',
    b"5,",
    b",5",
    b"5,5",
    b"5, 5",
    b"5 5",
    b"5a",
    b"a",
    b"5.0",
    b"5\x0b",
    b"5\x0c",
    b"5\x85",
    b"5\xa0",
    b"5\n",
    b"5\x00",
    "٥".encode(),
    "５".encode(),
    b"1e3",
    b"9223372036854775808",
    b"18446744073709551617",
    b"9" * 40,
    b"0" * 5000,
]

BAD_CODINGS = [
    b"",
    b"identity",
    b"identity, chunked",
    b"gzip",
    b"gzip, deflate",
    b"chunked, chunked",
    b"chunked, identity",
    b"chunked, gzip",
    b"chunked,",
    b", chunked",
    b"chunked;q=1",
    b'"chunked"',
    b"'chunked'",
    b"chunked\x0b",
    b"\x0bchunked",
    b"chunked\x00",
    b"chunked\x85",
    b"\xa0chunked",
    b"\xc2\xa0chunked",
    b"chunked\n",
    b"xchunked",
    b"chunke",
    b"chunked chunked",
    b"gzip chunked",
    b"foo, chunked",
    b"gzip, foo, chunked",
    b"gzip, chunked, chunked",
    b"\xe1\xb4\x84hunked",
    "ﬀchunKed".encode(),
]


def lines(raw: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [b"%b: %b" % field for field in raw]


def request(*raw: tuple[bytes, bytes], minor: int = 1) -> BodyFraming:
    return request_framing(minor, request_fields(lines(raw), minor))


def response(*raw: tuple[bytes, bytes], method: str = "GET", status: int = 200, minor: int = 1) -> BodyFraming:
    return response_framing(method, status, response_fields(lines(raw)), minor)


def refused_request(*raw: tuple[bytes, bytes], minor: int = 1) -> LocalReply:
    with pytest.raises(LocalReply) as caught:
        request(*raw, minor=minor)
    assert caught.value.close
    return caught.value


def refused_response(
    *raw: tuple[bytes, bytes], method: str = "GET", status: int = 200, minor: int = 1
) -> tuple[int, Reason]:
    with pytest.raises(LocalReply) as caught:
        response(*raw, method=method, status=status, minor=minor)
    return caught.value.status, caught.value.reason


BAD_GATEWAY = (502, Reason.BAD_GATEWAY_RESPONSE)


# Requests


def test_a_request_without_framing_fields_has_no_body() -> None:
    assert request() is NONE
    assert (NONE.length, NONE.field) == (0, b"")


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"5", 5), (b"007", 7), (b"9223372036854775807", 2**63 - 1)])
@pytest.mark.parametrize("minor", [0, 1])
def test_content_length_frames_a_request_and_is_written_anew(value: bytes, length: int, minor: int) -> None:
    framing = request((LENGTH, value), minor=minor)
    assert framing.length == length
    assert framing.field == b"Content-Length: %d\r\n" % length


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED"])
def test_chunked_in_any_case_frames_a_request(value: bytes) -> None:
    framing = request((CODING, value))
    assert framing is CHUNKED
    assert framing.length is None
    assert framing.field == b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("value", BAD_LENGTHS)
def test_a_malformed_length_is_refused(value: bytes) -> None:
    assert refused_request((LENGTH, value)).status == 400
    assert refused_response((LENGTH, value)) == BAD_GATEWAY


def test_a_repeated_length_is_refused_even_when_it_is_equal() -> None:
    assert refused_request((LENGTH, b"5"), (LENGTH, b"5")).status == 400
    assert refused_request((LENGTH, b"5"), (b"content-length", b"6")).status == 400
    assert refused_response((LENGTH, b"5"), (LENGTH, b"5")) == BAD_GATEWAY


@pytest.mark.parametrize("value", BAD_CODINGS)
def test_a_malformed_coding_is_refused(value: bytes) -> None:
    assert refused_request((CODING, value)).status == 400
    assert refused_response((CODING, value)) == BAD_GATEWAY


@pytest.mark.parametrize(
    "value", [b"gzip, chunked", b"GZIP ,Chunked", b"x-gzip,chunked", b"deflate, compress, chunked"]
)
def test_a_known_coding_before_chunked_is_not_implemented(value: bytes) -> None:
    reply = refused_request((CODING, value))
    assert (reply.status, reply.reason) == (501, Reason.CODING_NOT_IMPLEMENTED)
    assert refused_response((CODING, value)) == BAD_GATEWAY


def test_a_repeated_coding_is_refused() -> None:
    assert refused_request((CODING, b"chunked"), (CODING, b"chunked")).status == 400
    assert refused_request((CODING, b"chunked"), (CODING, b"identity")).status == 400
    assert refused_response((CODING, b"chunked"), (CODING, b"chunked")) == BAD_GATEWAY


@pytest.mark.parametrize("coding", [b"chunked", b"identity", b"xchunked", b""])
@pytest.mark.parametrize("length", [b"5", b"0", b"x"])
def test_length_and_coding_together_are_refused(coding: bytes, length: bytes) -> None:
    assert refused_request((LENGTH, length), (CODING, coding)).status == 400
    assert refused_request((CODING, coding), (LENGTH, length)).status == 400
    assert refused_response((CODING, coding), (LENGTH, length)) == BAD_GATEWAY
    assert refused_response((CODING, coding), (LENGTH, length), method="HEAD") == BAD_GATEWAY


def test_a_coding_in_http_10_is_refused() -> None:
    assert refused_request((CODING, b"chunked"), minor=0).status == 400
    assert refused_response((CODING, b"chunked"), minor=0) == BAD_GATEWAY


# Responses


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304), ("POST", 103), ("GET", 100)]
)
@pytest.mark.parametrize("raw", [(), ((LENGTH, b"5"),), ((CODING, b"chunked"),)])
def test_some_responses_never_have_a_body(method: str, status: int, raw: tuple[tuple[bytes, bytes], ...]) -> None:
    framing = response(*raw, method=method, status=status)
    assert framing is NONE
    assert body_decoder(framing, Limits()) is None


@pytest.mark.parametrize(("status", "kept"), [(204, []), (103, []), (304, [b"Content-Length: 5\r\n"])])
def test_a_204_and_a_1xx_lose_their_length(status: int, kept: list[bytes]) -> None:
    fields = response_fields(lines(((LENGTH, b"5"),)))
    response_framing("GET", status, fields)
    assert fields.kept == kept


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_malformed_length_is_refused_where_there_is_no_body_too(method: str, status: int) -> None:
    assert refused_response((LENGTH, b"5, 5"), method=method, status=status) == BAD_GATEWAY


def test_a_response_is_framed_by_length_by_chunks_or_by_the_end_of_its_connection() -> None:
    assert response((LENGTH, b"5")).length == 5
    assert response((LENGTH, b"0")).length == 0
    assert response((CODING, b"Chunked")) is CHUNKED
    assert response() is UNTIL_CLOSE
    assert response(minor=0) is UNTIL_CLOSE
    assert (UNTIL_CLOSE.length, UNTIL_CLOSE.field) == (None, b"")


def test_a_lower_case_head_is_no_head() -> None:
    assert response((LENGTH, b"5"), method="head").length == 5


def test_framings_are_shown_by_name() -> None:
    assert [repr(framing) for framing in (NONE, CHUNKED, UNTIL_CLOSE, BodyFraming(5))] == [
        "NONE",
        "CHUNKED",
        "UNTIL_CLOSE",
        "LENGTH(5)",
    ]


# Decoders


def test_each_framing_has_its_decoder() -> None:
    limits = Limits()
    assert body_decoder(NONE, limits) is None
    assert body_decoder(BodyFraming(0), limits, request=True) is None
    assert isinstance(body_decoder(BodyFraming(1), limits), LengthDecoder)
    assert isinstance(body_decoder(CHUNKED, limits), ChunkedDecoder)
    assert isinstance(body_decoder(UNTIL_CLOSE, limits), UntilCloseDecoder)


def test_a_whole_piece_of_payload_is_passed_on_without_a_copy() -> None:
    data = b"x" * 1000
    assert LengthDecoder(1000).feed(data)[0] is data
    assert LengthDecoder(2000).feed(data)[0] is data
    assert UntilCloseDecoder().feed(data)[0] is data


@given(st.binary(max_size=40), st.binary(max_size=20), st.lists(st.integers(0, 60), max_size=6))
def test_a_length_cuts_the_body_from_what_follows(body: bytes, following: bytes, cuts: list[int]) -> None:
    stream = body + following
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    decoder = LengthDecoder(len(body))
    pieces: list[bytes] = []
    for start, end in pairwise(edges):
        new = decoder.feed(stream[start:end])
        assert all(new)
        pieces += new
    assert b"".join(pieces) == body
    assert decoder.complete
    assert decoder.leftover == following
    assert not decoder.ends_with_connection


def test_a_length_is_not_complete_before_its_last_byte() -> None:
    decoder = LengthDecoder(3)
    assert decoder.feed(b"") == []
    assert decoder.feed(b"ab") == [b"ab"]
    assert not decoder.complete
    assert decoder.feed(b"c") == [b"c"]
    assert decoder.complete


def test_a_body_until_close_never_completes_by_itself() -> None:
    decoder = UntilCloseDecoder()
    assert decoder.ends_with_connection
    assert decoder.feed(b"") == []
    assert decoder.feed(LAST_CHUNK) == [LAST_CHUNK]
    assert not decoder.complete
    assert decoder.leftover == b""


def test_an_empty_piece_makes_no_chunk() -> None:
    assert encode_chunk(b"") == b""


@given(st.binary(min_size=1, max_size=300))
def test_a_chunk_that_was_encoded_is_decoded(data: bytes) -> None:
    decoder = ChunkedDecoder(Limits(), request=False)
    assert b"".join(decoder.feed(encode_chunk(data) + LAST_CHUNK)) == data
    assert decoder.complete
    assert decoder.leftover == b""
