"""The chunked coding: strict, bounded, the same however the stream is cut, and never looser than h11."""

from __future__ import annotations

import re
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply, Reason
from ingressd.http.chunked import NEVER_TRAILERS, USELESS_TRAILERS, ChunkedDecoder
from ingressd.http.framing import LAST_CHUNK, encode_chunk
from ingressd.settings import Limits


def decode(stream: bytes, *, limits: Limits | None = None, request: bool = True) -> ChunkedDecoder:
    decoder = ChunkedDecoder(limits or Limits(), request=request)
    decoder.feed(stream)
    return decoder


def payload(stream: bytes, size: int = 0) -> tuple[bytes, ChunkedDecoder]:
    """What comes out when the stream comes in pieces of `size` bytes; 0 = whole."""
    decoder = ChunkedDecoder(Limits(), request=True)
    pieces: list[bytes] = []
    for start in range(0, len(stream), size or len(stream) or 1):
        if decoder.complete:
            decoder.leftover += stream[start:]
            break
        pieces += decoder.feed(stream[start : start + (size or len(stream))])
    assert all(pieces)
    return b"".join(pieces), decoder


def refused(stream: bytes, *, limits: Limits | None = None, request: bool = True) -> LocalReply:
    with pytest.raises(LocalReply) as caught:
        decode(stream, limits=limits, request=request)
    return caught.value


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello"),
        (b'5;a="b;c\\"d\t\xe9";e\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"5; a = b ; c\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\n", b"hello"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
def test_valid_bodies_are_decoded_however_they_are_cut(stream: bytes, body: bytes, size: int) -> None:
    got, decoder = payload(stream + b"GET / HTTP/1.1\r\n", size)
    assert got == body
    assert decoder.complete
    assert decoder.leftover == b"GET / HTTP/1.1\r\n"


HOSTILE = [
    b"\r\n",
    b"\r\n0\r\n\r\n",
    b"\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\t\r\nhello\r\n0\r\n\r\n",
    b"5 ;a\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"0X5\r\nhello\r\n0\r\n\r\n",
    b"x5\r\nhello\r\n0\r\n\r\n",
    b"0_5\r\nhello\r\n0\r\n\r\n",
    b"5_\r\nhello\r\n0\r\n\r\n",
    b"5h\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b'"5"\r\nhello\r\n0\r\n\r\n',
    b"5.0\r\nhello\r\n0\r\n\r\n",
    b"5,5\r\nhello\r\n0\r\n\r\n",
    b"\xd9\xa5\r\nhello\r\n0\r\n\r\n",
    b"5\x00\r\nhello\r\n0\r\n\r\n",
    b"5\x0b\r\nhello\r\n0\r\n\r\n",
    b"5\x85\r\nhello\r\n0\r\n\r\n",
    b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"8000000000000000\r\nhello",
    b"ffffffffffffffff\r\nhello",
    b"fffffffffffffffff\r\nhello",
    # Line ends
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\r\rhello\r\n0\r\n\r\n",
    b"5\n\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"5\r\nhelloXY0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\r\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\n\r\n",
    # Extensions
    b"5;\r\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;\n\r\nhello\r\n0\r\n\r\n",
    b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    b"5;a\x7f\r\nhello\r\n0\r\n\r\n",
    b"5;a=\r\nhello\r\n0\r\n\r\n",
    b"5;=a\r\nhello\r\n0\r\n\r\n",
    b"5;a=b=c\r\nhello\r\n0\r\n\r\n",
    b'5;a="b\r\nhello\r\n0\r\n\r\n',
    b'5;a="b\\"\r\nhello\r\n0\r\n\r\n',
    b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    b'5;a="\x00"\r\nhello\r\n0\r\n\r\n',
    b'5;a="b"c\r\nhello\r\n0\r\n\r\n',
    b"5;a b\r\nhello\r\n0\r\n\r\n",
    b"5a;;b\r\nhello\r\n0\r\n\r\n",
    # Trailers
    b"0\r\nA : b\r\n\r\n",
    b"0\r\n A: b\r\n\r\n",
    b"0\r\nA: b\r\n c\r\n\r\n",
    b"0\r\nA\r\n\r\n",
    b"0\r\n: b\r\n\r\n",
    b"0\r\nA: b\n\r\n\r\n",
    b"0\r\nA: b\nC: d\r\n\r\n",
    b"0\r\nA: b\rC: d\r\n\r\n",
    b"0\r\nA: \x00\r\n\r\n",
    b"0\r\nA: \x7f\r\n\r\n",
    b"0\r\nA\xe9: b\r\n\r\n",
    b"0\r\nA: b\n\n",
    b"0\r\nX\r\n\r\nGET / HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("stream", HOSTILE)
@pytest.mark.parametrize("size", [0, 1, 2])
def test_hostile_framing_is_refused_however_it_is_cut(stream: bytes, size: int) -> None:
    with pytest.raises(LocalReply) as caught:
        payload(stream, size)
    assert (caught.value.status, caught.value.reason, caught.value.close) == (400, Reason.BAD_REQUEST, True)


@pytest.mark.parametrize("stream", HOSTILE)
def test_a_response_that_breaks_the_rules_is_a_bad_gateway(stream: bytes) -> None:
    reply = refused(stream, request=False)
    assert (reply.status, reply.reason) == (502, Reason.BAD_GATEWAY_RESPONSE)


@pytest.mark.parametrize(
    "start", [b"\n", b" ", b"z", b"5\n", b"5 ", b"5;a\n", b"5;a\r;", b"+", b"0\r\nA: b\n", b"0\r\n\n"]
)
def test_what_can_become_no_chunk_is_refused_before_its_line_is_whole(start: bytes) -> None:
    refused(start)


@pytest.mark.parametrize("cut", range(1, len(b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n")))
def test_a_body_is_not_complete_before_its_last_byte(cut: int) -> None:
    assert not decode(b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"[:cut]).complete


def test_payload_that_fills_what_was_read_is_passed_on_without_a_copy() -> None:
    decoder = decode(b"20000\r\n")
    data = b"x" * 65536
    assert decoder.feed(data)[0] is data
    assert not decoder.ends_with_connection


def test_extension_bytes_are_bounded_over_the_whole_body() -> None:
    limits = Limits(chunk_extension_bytes=10)
    chunk = b"1;abcd\r\nx\r\n"
    assert decode(chunk * 2 + LAST_CHUNK, limits=limits).complete
    assert "extension" in refused(chunk * 3, limits=limits).detail
    refused(b"1;" + b"a" * 11 + b"\r\nx\r\n", limits=limits)


def test_an_endless_extension_is_refused_before_its_end() -> None:
    refused(b"1;" + b"a" * 5000)
    decoder = ChunkedDecoder(Limits(chunk_extension_bytes=10), request=True)
    with pytest.raises(LocalReply):
        for _ in range(100):
            decoder.feed(b";aaa" if not decoder._partial else b"a") if decoder._partial else decoder.feed(b"1;a")


def test_the_longest_line_that_is_allowed_may_come_byte_by_byte() -> None:
    limits = Limits(chunk_extension_bytes=10)
    decoder = ChunkedDecoder(limits, request=True)
    pieces: list[bytes] = []
    for byte in b"0000000000000001;aaaaaaaaa\r\nx\r\n0\r\n\r\n":
        pieces += decoder.feed(bytes([byte]))
    assert pieces == [b"x"]
    assert decoder.complete


def test_trailers_are_read_and_never_merged() -> None:
    decoder = decode(b"0\r\nX-Sum:  1 \r\nX-Sum: 2\r\nX-Empty:\r\nX-Obs: \xe9\r\n\r\n")
    assert decoder.trailers == [(b"X-Sum", b"1"), (b"X-Sum", b"2"), (b"X-Empty", b""), (b"X-Obs", b"\xe9")]


@pytest.mark.parametrize("name", sorted(NEVER_TRAILERS))
def test_framing_routing_and_authentication_are_no_trailers(name: bytes) -> None:
    stream = b"0\r\nX-A: 1\r\n" + name.title() + b": 1\r\n\r\n"
    assert refused(stream).status == 400
    decoder = decode(stream, request=False)
    assert decoder.complete
    assert decoder.trailers == [(b"X-A", b"1")]


@pytest.mark.parametrize("name", sorted(USELESS_TRAILERS))
def test_trailers_that_come_too_late_are_left_out(name: bytes) -> None:
    assert decode(b"0\r\n" + name.upper() + b": 1\r\n\r\n").trailers == []


def test_the_number_and_the_size_of_trailers_are_bounded() -> None:
    limits = Limits(trailer_bytes=100, trailer_fields=3)
    assert len(decode(b"0\r\n" + b"A: b\r\n" * 3 + b"\r\n", limits=limits).trailers) == 3
    refused(b"0\r\n" + b"A: b\r\n" * 4 + b"\r\n", limits=limits)
    refused(b"0\r\nA: " + b"b" * 100 + b"\r\n\r\n", limits=limits)
    refused(b"0\r\nA: " + b"b" * 100, limits=limits)
    decoder = decode(b"0\r\nA: ", limits=limits)
    with pytest.raises(LocalReply):
        for _ in range(200):
            decoder.feed(b"b")


def test_bytes_fed_after_the_end_are_left_over() -> None:
    decoder = decode(LAST_CHUNK + b"GET")
    assert decoder.feed(b" /") == []
    assert decoder.leftover == b"GET /"


def h11_payload(stream: bytes) -> tuple[bytes, bytes] | None:
    """Payload and leftover by h11; None when it refuses or waits for more."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + stream)
    connection.next_event()
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return None
        if isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return body, connection.trailing_data[0]
        else:
            return None


tokens = st.from_regex(re.compile(rb"[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,6}"), fullmatch=True)
quoted = st.from_regex(re.compile(rb'"([ !#-\[\]-~]|\\[ -~]){0,6}"'), fullmatch=True)
extensions = st.lists(
    st.builds(lambda name, value: b";" + name + (b"=" + value if value else b""), tokens, st.none() | tokens | quoted),
    max_size=2,
).map(b"".join)
chunks = st.builds(
    lambda data, zeros, upper, extension: (
        b"0" * zeros + (b"%X" if upper else b"%x") % len(data) + extension + b"\r\n" + data + b"\r\n"
    ),
    st.binary(min_size=1, max_size=40),
    st.integers(0, 3),
    st.booleans(),
    extensions,
)
trailers = st.lists(st.builds(lambda name, value: b"X-" + name + b": " + value + b"\r\n", tokens, tokens), max_size=2)
bodies = st.builds(
    lambda parts, last, fields: b"".join((*parts, b"0", last, b"\r\n", *fields, b"\r\n")),
    st.lists(chunks, max_size=4),
    extensions,
    trailers,
)


@given(bodies, st.binary(max_size=10), st.data())
def test_valid_bodies_decode_as_in_h11_wherever_they_are_cut(
    body: bytes, following: bytes, data: st.DataObject
) -> None:
    stream = body + following
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    decoder = ChunkedDecoder(Limits(), request=True)
    pieces: list[bytes] = []
    for start, end in pairwise(sorted({0, len(stream), *cuts})):
        pieces += decoder.feed(stream[start:end])
    assert decoder.complete
    assert (b"".join(pieces), decoder.leftover) == h11_payload(stream)
    assert decoder.leftover == following


mutations = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.sampled_from(
            [
                b"",
                b"\r",
                b"\n",
                b"\r\n",
                b" ",
                b"\t",
                b"\x00",
                b"0",
                b"5",
                b";",
                b"_",
                b"x",
                b"+",
                b":",
                b'"',
                b"\x85",
                b"\xff",
            ]
        ),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=4,
)


@given(bodies, mutations, st.integers(0, 3))
def test_what_is_accepted_of_a_broken_body_is_accepted_alike_by_h11(
    body: bytes, edits: list[tuple[int, bytes, int]], size: int
) -> None:
    for position, inserted, removed in edits:
        position %= len(body) + 1
        body = body[:position] + inserted + body[position + removed :]
    try:
        got, decoder = payload(body, size)
    except LocalReply:
        return
    if decoder.complete:
        assert (got, decoder.leftover) == h11_payload(body)


@given(st.binary(max_size=60) | bodies, st.integers(1, 5))
def test_the_answer_does_not_depend_on_how_the_stream_is_cut(stream: bytes, size: int) -> None:
    def outcome(size: int) -> tuple[bytes, bool, bytes] | int:
        try:
            body, decoder = payload(stream, size)
        except LocalReply as reply:
            return reply.status
        return body, decoder.complete, decoder.leftover

    assert outcome(size) == outcome(0)


def test_many_small_chunks_become_as_many_pieces() -> None:
    assert decode(encode_chunk(b"x") * 1000 + LAST_CHUNK).complete
    got, _ = payload(encode_chunk(b"xy") * 1000 + LAST_CHUNK)
    assert got == b"xy" * 1000
