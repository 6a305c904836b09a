"""Where a body ends (RFC 9112 section 6), and decoders that cut it out of the stream.

In: the fields of a head, then bytes. Out: a BodyFraming, then payload pieces and what follows the body. The proxy
never passes framing on: it writes its own from the BodyFraming. It knows neither sockets nor peers.
"""

from __future__ import annotations

from typing import Protocol

from ingressd.errors import LocalReply, Reason
from ingressd.http.chunked import ChunkedDecoder
from ingressd.http.fields import RequestFields, ResponseFields
from ingressd.settings import Limits

LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked body without trailers."""

_LENGTH_LIMIT = 2**63
"""Above it a length does not fit a signed 64-bit integer, and two parsers may disagree about it."""

_KNOWN_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"})
"""RFC 9112 section 7: codings that exist, and that the proxy does not undo."""

_LENGTH_DIGITS = 32


class BodyFraming:
    """How the end of one body is known. `length` in bytes; None = it shows only when it is there."""

    __slots__ = ("length",)

    def __init__(self, length: int | None) -> None:
        self.length = length

    def __repr__(self) -> str:
        names = {id(NONE): "NONE", id(CHUNKED): "CHUNKED", id(UNTIL_CLOSE): "UNTIL_CLOSE"}
        return names.get(id(self), f"LENGTH({self.length})")

    @property
    def field(self) -> bytes:
        """The line that announces this framing, with its CRLF; empty when there is nothing to announce."""
        if self is CHUNKED:
            return b"Transfer-Encoding: chunked\r\n"
        if self is NONE or self.length is None:
            return b""
        return b"Content-Length: %d\r\n" % self.length


NONE = BodyFraming(0)
"""There is no body, and nothing says so."""
CHUNKED = BodyFraming(None)
UNTIL_CLOSE = BodyFraming(None)
"""The body ends with the connection: responses only."""


def request_framing(minor: int, fields: RequestFields) -> BodyFraming:
    """RFC 9112 section 6.3 for an HTTP/1.`minor` request. Raises LocalReply: 400, or 501 for a coding we lack."""
    coding = fields.transfer_encoding
    length = fields.content_length
    if coding is None and length is None:
        return NONE  # step 7, first for speed: no other step can apply
    # Steps 1 and 2 are about responses.
    if coding is not None:
        # Step 3, and section 6.1: each of these is how requests are smuggled.
        if length is not None:
            raise _bad_request("Transfer-Encoding and Content-Length together")
        if not minor:
            raise _bad_request("Transfer-Encoding in HTTP/1.0")
        # Step 4.
        if coding.lower() == b"chunked":
            return CHUNKED
        raise _unusable_coding(coding)
    # Steps 5 and 6.
    size = _content_length(length)
    if size is None:
        raise _bad_request("malformed Content-Length")
    return BodyFraming(size)


def response_framing(method: str, status: int, fields: ResponseFields, minor: int = 1) -> BodyFraming:
    """RFC 9112 section 6.3 for an HTTP/1.`minor` response to `method`. Raises LocalReply (502).

    Malformed framing is refused even where there is no body: the client would get to see it. A 1xx or 204 loses
    its Content-Length (RFC 9110 section 8.6).
    """
    coding = fields.transfer_encoding
    length = fields.content_length
    size = None
    # Step 3: an endpoint that says both is broken or attacked.
    if coding is not None:
        if length is not None:
            raise _bad_response("Transfer-Encoding and Content-Length together")
        if not minor:
            raise _bad_response("Transfer-Encoding in HTTP/1.0")
    # Step 5.
    if length is not None:
        size = _content_length(length)
        if size is None:
            raise _bad_response("malformed Content-Length")
    # Step 1.
    if status == 204 or status < 200:
        if length is not None:
            fields.drop_content_length()
        return NONE
    if status == 304 or method == "HEAD":
        return NONE
    # Step 2 is about CONNECT, which is never sent.
    # Step 4.
    if coding is not None:
        if coding.lower() == b"chunked":
            return CHUNKED
        raise _bad_response("a transfer coding other than chunked")
    # Steps 6 to 8.
    return UNTIL_CLOSE if size is None else BodyFraming(size)


def _content_length(value: bytes | None) -> int | None:
    """1*DIGIT below 2^63, else None: a list, a sign, a space or another script's digits are none."""
    if value is None or not value.isdigit() or len(value) > _LENGTH_DIGITS:  # bytes: ASCII digits only
        return None
    size = int(value)
    return size if size < _LENGTH_LIMIT else None


def _unusable_coding(value: bytes) -> LocalReply:
    *before, last = (coding.strip(b" \t").lower() for coding in value.split(b","))
    if last == b"chunked" and before and all(coding in _KNOWN_CODINGS for coding in before):
        return LocalReply(
            501, Reason.CODING_NOT_IMPLEMENTED, "chunked is the only transfer coding that is taken", close=True
        )
    return _bad_request("malformed Transfer-Encoding")


def _bad_request(detail: str) -> LocalReply:
    return LocalReply(400, Reason.BAD_REQUEST, detail, close=True)


def _bad_response(detail: str) -> LocalReply:
    return LocalReply(502, Reason.BAD_GATEWAY_RESPONSE, detail)


class BodyDecoder(Protocol):
    """Cuts one body out of a stream. Feed it until `complete`, then no more."""

    complete: bool
    leftover: bytes
    """What came behind the body: of the next message."""
    ends_with_connection: bool
    """The end of the stream is the end of the body, not a truncation."""

    def feed(self, data: bytes) -> list[bytes]:
        """The payload in `data`, in pieces that are not empty. Raises LocalReply when the framing is broken."""


def body_decoder(framing: BodyFraming, limits: Limits, *, request: bool = False) -> BodyDecoder | None:
    """A decoder, or None when no byte of a body can come. `request` chooses who is to blame: 400 or 502."""
    if framing is CHUNKED:
        return ChunkedDecoder(limits, request=request)
    if framing is UNTIL_CLOSE:
        return UntilCloseDecoder()
    return LengthDecoder(framing.length) if framing.length else None


class LengthDecoder:
    """A body of a known length."""

    __slots__ = ("_remaining_bytes", "complete", "leftover")

    ends_with_connection = False

    def __init__(self, length: int) -> None:
        self._remaining_bytes = length
        self.complete = not length
        self.leftover = b""

    def feed(self, data: bytes) -> list[bytes]:
        """See BodyDecoder."""
        remaining = self._remaining_bytes
        size = len(data)
        if size < remaining:
            self._remaining_bytes = remaining - size
            return [data] if data else []
        self.complete = True
        self._remaining_bytes = 0
        if size == remaining:
            return [data] if data else []
        self.leftover += data[remaining:]
        return [data[:remaining]] if remaining else []


class UntilCloseDecoder:
    """A body that ends with its connection (RFC 9112 section 6.3, step 8)."""

    __slots__ = ()

    complete = False
    leftover = b""
    ends_with_connection = True

    def feed(self, data: bytes) -> list[bytes]:
        """See BodyDecoder."""
        return [data] if data else []


def encode_chunk(data: bytes) -> bytes:
    """`data` as one chunk; nothing for no data, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
