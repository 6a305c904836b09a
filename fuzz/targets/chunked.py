"""Bodies: a decoder that is fed in pieces reads what a reader of the whole body reads.

In: a byte of choices, a byte that decides the cuts, and the bytes of a chunked body with what follows it.
"""

from __future__ import annotations

import re

from fuzz.targets.cuts import ways
from ingressd.errors import LocalReply
from ingressd.http.chunked import NEVER_TRAILERS, USELESS_TRAILERS, ChunkedDecoder
from ingressd.http.framing import LengthDecoder
from ingressd.settings import Limits

WORDS = (
    b"0\r\n\r\n", b"\r\n", b"5\r\nhello\r\n", b"2;x=y\r\nhi\r\n", b';q="a\\"b"', b"; a = b", b"0\r\nX-T: 1\r\n\r\n",
    b"0\r\nHost: a\r\n\r\n", b"0\r\nRange: a\r\n\r\n", b"fffffffffffffffff", b"7fffffffffffffff", b"0x5", b"\n", b"\r",
)  # fmt: skip

_LIMITS = Limits(chunk_extension_bytes=40, trailer_bytes=60, trailer_fields=4)
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_extensions = re.compile(rb"(?:;[\t ]*" + _TOKEN + rb"(?:[\t ]*=[\t ]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?[\t ]*)*")
_digits = re.compile(rb"[0-9A-Fa-f]{1,16}")
_trailer = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")

Body = tuple[bytes, list[tuple[bytes, bytes]], bytes]
"""Payload, trailers, what follows."""
Whole = Body | str
"""A string says why there is no whole body: `refused`, or `incomplete`."""


def check(data: bytes) -> None:
    choices, seed, stream = (data[0], data[1], data[2:]) if len(data) > 1 else (0, 0, b"")
    request = bool(choices & 1)
    outcomes = [_decoded(pieces, request=request) for pieces in ways(stream, seed)]
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    expected = _read(stream, request=request)
    if expected == "incomplete":
        assert outcomes[0] in {"incomplete", "refused"} if isinstance(outcomes[0], str) else False, outcomes[0]
    else:
        assert outcomes[0] == expected, (outcomes[0], expected)
    _of_length(stream, choices >> 1, seed)


def _decoded(pieces: list[bytes], *, request: bool) -> Whole:
    decoder = ChunkedDecoder(_LIMITS, request=request)
    payload, behind = [], b""
    try:
        for piece in pieces:
            if decoder.complete:
                behind += piece
                continue
            payload += decoder.feed(piece)
            assert len(decoder._partial) <= len(piece) + _LIMITS.trailer_bytes + 4, "holds more than a line may have"
    except LocalReply as refused:
        assert refused.status == (400 if request else 502)
        assert refused.close == request
        return "refused"
    assert all(payload), "an empty piece"
    if not decoder.complete:
        return "incomplete"
    return b"".join(payload), decoder.trailers, decoder.leftover + behind


def _read(stream: bytes, *, request: bool) -> Whole:
    """The body in a stream that is all there."""
    payload, at, extension_bytes = b"", 0, 0
    while True:
        end = stream.find(b"\r\n", at)
        if end < 0:
            return "incomplete"
        digits = _digits.match(stream, at, end)
        if digits is None or _extensions.fullmatch(stream, digits.end(), end) is None:
            return "refused"
        extension_bytes += end - digits.end()
        size = int(digits[0], 16)
        if extension_bytes > _LIMITS.chunk_extension_bytes or size >= 2**63:
            return "refused"
        at = end + 2
        if not size:
            break
        payload += stream[at : at + size]
        at += size
        if len(stream) < at + 2:
            return "incomplete"
        if stream[at : at + 2] != b"\r\n":
            return "refused"
        at += 2
    if stream.startswith(b"\r\n", at):
        return payload, [], stream[at + 2 :]
    end = stream.find(b"\r\n\r\n", at)
    if end < 0:
        return "incomplete"
    lines = stream[at:end].split(b"\r\n")
    if end - at > _LIMITS.trailer_bytes or len(lines) > _LIMITS.trailer_fields:
        return "refused"
    trailers = []
    for line in lines:
        match = _trailer.fullmatch(line)
        if match is None or (request and match[1].lower() in NEVER_TRAILERS):
            return "refused"
        if match[1].lower() not in NEVER_TRAILERS | USELESS_TRAILERS:
            trailers.append((match[1], match[2].strip(b" \t")))
    return payload, trailers, stream[end + 4 :]


def _of_length(stream: bytes, length: int, seed: int) -> None:
    """A body of a known length is the first bytes, however they are cut."""
    for pieces in ways(stream, seed):
        decoder = LengthDecoder(length)
        payload, behind = [], b""
        for piece in pieces:
            if decoder.complete:
                behind += piece
            else:
                payload += decoder.feed(piece)
        assert b"".join(payload) == stream[:length]
        assert decoder.leftover + behind == stream[length:]
        assert decoder.complete == (len(stream) >= length)
