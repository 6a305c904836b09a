"""ChunkedDecoder: the chunked transfer coding, read strictly (RFC 9112 section 7.1).

In: bytes as they come, however they are cut. Out: payload pieces, the trailers, and what follows the body. A
lenient reading of any of its line ends, sizes or extensions is a known way to smuggle a request, so there is none.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from ingressd.errors import LocalReply, Reason
from ingressd.settings import Limits

_CRLF = b"\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_SIZE_DIGITS = 16
_SIZE_LIMIT = 2**63

_size = re.compile(rb"[0-9A-Fa-f]{1,16}").fullmatch
_sized_line = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:;[\t ]*+" + _TOKEN + rb"(?:[\t ]*+=[\t ]*+(?:" + _TOKEN + rb"|"
    rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?[\t ]*+)+)'
).fullmatch
_line_so_far = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;[^\r\n]*+)?\r?+").fullmatch
_trailer = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*+)").fullmatch

NEVER_TRAILERS = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-length",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"www-authenticate",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
"""Fields for framing, routing and authentication (RFC 9110 section 6.5.1)."""

USELESS_TRAILERS = frozenset(
    {b"cache-control", b"content-encoding", b"content-range", b"content-type", b"max-forwards", b"range"}
)
"""Fields that are needed before the content (RFC 9110 section 6.5.1): left out."""


class _Expect(Enum):
    """What the next byte belongs to."""

    LINE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()


_LINE = _Expect.LINE
_DATA = _Expect.DATA
_DATA_END = _Expect.DATA_END
_TRAILERS = _Expect.TRAILERS


class ChunkedDecoder:
    """A chunked body. Implements framing.BodyDecoder.

    Bounded by `chunk_extension_bytes` (all extensions of the body), `trailer_bytes` and `trailer_fields`.
    A `request` that breaks a rule is a 400, a response a 502. NEVER_TRAILERS in a request are refused; in a
    response they are left out, because the client has seen most of it.
    """

    __slots__ = (
        "_chunk_bytes",
        "_expect",
        "_extension_bytes",
        "_limits",
        "_partial",
        "_request",
        "complete",
        "leftover",
        "trailers",
    )

    ends_with_connection = False

    def __init__(self, limits: Limits, *, request: bool) -> None:
        self._limits = limits
        self._request = request
        self._expect = _LINE
        self._chunk_bytes = 0
        """Of the current chunk's data, still to come."""
        self._extension_bytes = limits.chunk_extension_bytes
        """How many more are allowed."""
        self._partial = b""
        """The beginning of a line that is not whole."""
        self.complete = False
        self.leftover = b""
        self.trailers: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> list[bytes]:
        """See BodyDecoder."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if self.complete:
            self.leftover += data
            return []
        pieces: list[bytes] = []
        position = 0
        end = len(data)
        expect = self._expect
        while position < end:
            if expect is _LINE:
                line_end = data.find(_CRLF, position)
                if line_end < 0:
                    self._keep_line(data[position:])
                    break
                size = self._chunk_size(data[position:line_end])
                position = line_end + 2
                if size:
                    self._chunk_bytes = size
                    expect = _DATA
                else:
                    expect = _TRAILERS
            elif expect is _DATA:
                data_end = position + self._chunk_bytes
                if data_end > end:
                    self._chunk_bytes = data_end - end
                    pieces.append(data[position:] if position else data)
                    break
                pieces.append(data[position:data_end])
                position = data_end
                expect = _DATA_END
            elif expect is _DATA_END:
                if not data.startswith(_CRLF, position):
                    if data[position:] != b"\r":
                        raise self._broken("chunk data without its line end")
                    self._partial = b"\r"
                    break
                position += 2
                expect = _LINE
            else:
                self._read_trailers(data[position:])
                break
        self._expect = expect
        return pieces

    def _chunk_size(self, line: bytes) -> int:
        digits = line
        if _size(line) is None:
            match = _sized_line(line)
            if match is None:
                raise self._broken("malformed chunk size or extension")
            digits, extensions = match.groups()
            self._extension_bytes -= len(extensions)
            if self._extension_bytes < 0:
                raise self._broken("too many bytes of chunk extensions")
        size = int(digits, 16)
        if size >= _SIZE_LIMIT:
            raise self._broken("chunk size out of range")
        return size

    def _keep_line(self, start: bytes) -> None:
        """Hold the start of a chunk's line; what can become no chunk's line is refused at once."""
        if _line_so_far(start) is None:
            raise self._broken("malformed chunk size or extension")
        if len(start) > _SIZE_DIGITS + self._extension_bytes + 1:
            raise self._broken("too many bytes of chunk extensions")
        self._partial = start

    def _read_trailers(self, data: bytes) -> None:
        """Read the trailer section once it is whole. It is short: to look at all of it again costs little."""
        if data.startswith(_CRLF):
            self.complete = True
            self.leftover = data[2:]
            return
        limits = self._limits
        end = data.find(b"\r\n\r\n")
        # Of what has no end yet, up to three bytes may belong to it.
        size = max(len(data) - 3, len(data.rstrip(_CRLF))) if end < 0 else end
        if size > limits.trailer_bytes:
            raise self._broken("trailers too large")
        if end < 0:
            if data.count(b"\n") != data.count(_CRLF):
                raise self._broken("bare LF in the trailers")
            self._partial = data
            return
        lines = data[:end].split(_CRLF)
        if len(lines) > limits.trailer_fields:
            raise self._broken("too many trailers")
        for line in lines:
            self._read_trailer(line)
        self.complete = True
        self.leftover = data[end + 4 :]

    def _read_trailer(self, line: bytes) -> None:
        match = _trailer(line)
        if match is None:
            raise self._broken("malformed trailer")
        name, value = match.groups()
        lower = name.lower()
        if lower in NEVER_TRAILERS:
            if self._request:
                raise self._broken("a trailer that must not be one")
        elif lower not in USELESS_TRAILERS:
            self.trailers.append((name, value.strip(b" \t")))

    def _broken(self, detail: str) -> LocalReply:
        if self._request:
            return LocalReply(400, Reason.BAD_REQUEST, detail, close=True)
        return LocalReply(502, Reason.BAD_GATEWAY_RESPONSE, detail)
