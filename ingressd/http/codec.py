"""The HTTP/1.1 codec: aiohttp's C parsers (llhttp), used for message heads only.

Bytes enter, a RequestHead or ResponseHead leaves, with the bytes that follow it. Bodies are framed by
http/framing.py. This is the only module that knows the parser: another binding changes one file. The parser sees
every head that has something new in it; of the others, line_memory.py knows that it would accept them.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp.http import HttpRequestParser, HttpResponseParser
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError

from ingressd.errors import LocalReply, Reason
from ingressd.http.authority import plain_authority
from ingressd.http.fields import FieldBlock, FieldLines, ResponseFields, response_fields
from ingressd.http.framing import BodyFraming
from ingressd.http.line_memory import DATED_BLOCKS, DATED_LINES, LINE_BYTES, LineMemory
from ingressd.http.target import canonicalise
from ingressd.settings import Limits

_HEAD_END = b"\r\n\r\n"
_CRLF = b"\r\n"
_TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
_MINOR_VERSION = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_OTHER_MAJOR = re.compile(rb"[" + _TCHAR + rb"]++ [\x21-\x7e\x80-\xff]++ HTTP/[2-9](?:\.[0-9])?")
_UNKNOWN_METHOD = re.compile(rb"[" + _TCHAR + rb"]++ [\x21-\x7e]++ HTTP/1\.[01]")
# What can still become a request line, and what no head may hold: so garbage is answered at once.
_LINE_SO_FAR = re.compile(rb"\r?|[" + _TCHAR + rb"]++(?: (?:[\x21-\x7e\x80-\xff]++(?: [\x21-\x7e]{0,8}+\r?+)?)?)?")
_NEVER_IN_A_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)|(?<!\r)\n")
# RFC 9112 sections 4 and 5, without obs-fold. The response parser is lenient by design of its owner, so
# this decides first what a response head may look like.
_RESPONSE_HEAD = re.compile(
    rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"
    rb"(?:[" + _TCHAR + rb"]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*\r\n"
)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?")
_ORIGIN_FORM = re.compile(rb"([A-Z]{1,16}+) (/[\x21-\x7e]*+) HTTP/1\.([01])")

_HOST_FIELD = b"\r\nHost: "
_NEVER_LEARNED = (b"content-length", b"transfer-encoding", b"sec-websocket-key1")
"""A request that says how long it is, is always parsed: there two opinions are better than one. The last is of a
WebSocket draft, whose requests had a body that nothing announced."""

_request_lines: LineMemory[tuple[str, str, int, str], FieldBlock] = LineMemory()
"""Starts: method, target, minor version and canonical path. Blocks: by what stands behind a plain Host that comes
first, so that fifty thousand hosts have them in common; else by the minor version, which they depend on, and all."""
_response_lines: LineMemory[tuple[int, bytes, int], ResponseHead] = LineMemory(DATED_LINES, DATED_BLOCKS)
"""Starts: status, reason and minor version. Blocks: whole heads, which are the same for a second (Date)."""
_methods: dict[bytes, str] = {}
"""Those that the parser has accepted: all that it knows are few."""


class _NoPayload:
    """Stands where aiohttp's parser wants the protocol whose reading it may pause: heads have no payload."""

    connected = True

    def pause_reading(self) -> None:
        """Nothing to pause."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Nothing to resume."""


_NO_PAYLOAD: Any = _NoPayload()


class RequestHead:
    """A request line and its fields, as sent: `target` is ASCII, names keep their case."""

    __slots__ = ("block", "host", "method", "minor", "path", "target")

    def __init__(
        self,
        method: str,
        target: str,
        minor: int,
        block: FieldBlock,
        path: str = "",
        host: tuple[str, str] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.block = block
        self.path = path
        """What `canonicalise` makes of the target; empty: it was not asked yet."""
        self.host = host
        """`plain_authority` of the one Host field, which is not in the block then; None: see there."""

    @property
    def lines(self) -> FieldLines:
        """All field lines."""
        lines = self.block.lines
        return lines if self.host is None else [b"Host: %b" % self.host[0].encode("ascii"), *lines]

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target} HTTP/1.{self.minor} {len(self.lines)} fields>"


class ResponseHead:
    """A status line and its fields, as sent. An endpoint that says the same again gives the same head."""

    __slots__ = ("fields", "framing", "lines", "minor", "reason", "start", "status")

    def __init__(self, status: int, reason: bytes, minor: int, lines: FieldLines) -> None:
        """Raises LocalReply."""
        self.status = status
        self.reason = reason
        self.minor = minor
        self.lines = lines
        self.start = b"HTTP/1.1 %d %b\r\n" % (status, reason)
        """The status line that goes to the client."""
        self.framing: BodyFraming | None = None
        """Of the body, unless the request was a HEAD; whoever works it out keeps it here."""
        self.fields: ResponseFields = response_fields(lines)
        """What the fields say."""

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} HTTP/1.{self.minor} {len(self.lines)} fields>"


class RequestHeadReader:
    """Reads one request head after the other from a connection (RFC 9112 sections 2 to 5).

    `feed` takes bytes and gives a head or None; what follows a head is in `leftover`, and is for the body
    or for the next head. How the bytes are cut makes no difference: the parser sees whole heads only. Raises
    LocalReply, after which nothing more may be fed.
    """

    __slots__ = ("_limits", "_lines", "_loop", "_skipped", "leftover", "partial")

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._limits = limits
        self._loop = loop
        self.partial = b""
        """What has come of the next head."""
        self._lines = 0
        """Line ends in the partial head."""
        self._skipped = False
        """An empty line came before this head."""
        self.leftover = b""

    @property
    def idle(self) -> bool:
        """No byte of the next head has come."""
        return not self.partial

    def feed(self, data: bytes) -> RequestHead | None:
        """The next head, or None while it is not whole."""
        seen = len(self.partial)
        if seen:
            data = self.partial + data
        if data.startswith(_CRLF):  # RFC 9112 2.2: at least one empty line before the request line is ignored
            data = data[2:]
            if self._skipped or data.startswith(_CRLF):
                raise LocalReply(400, Reason.BAD_REQUEST, "empty request line", close=True)
            self._skipped = True
        end = data.find(_HEAD_END, seen - 3 if seen > 3 else 0) + 4
        if end < 4:
            self._keep(data, seen)
            return None
        if seen or self._skipped:
            self.partial = b""
            self._lines = 0
            self._skipped = False
        limits = self._limits
        line_end = data.find(_CRLF)
        start = _request_lines.starts.get(data[:line_end])
        short = line_end <= limits.request_line_bytes
        minor = start[2] if start is not None and short else self._minor(data, line_end)
        if end > limits.request_head_bytes:
            raise _header_too_large("request head too large")
        self.leftover = data[end:] if end < len(data) else b""
        host = None
        if minor and data.startswith(_HOST_FIELD, line_end):
            host_end = data.find(_CRLF, line_end + 8)
            host = plain_authority(data[line_end + 8 : host_end])
        block = _request_lines.blocks.get(data[line_end - 1 : end] if host is None else data[host_end:end])
        if (
            start is None
            or block is None
            or len(block.lines) >= limits.request_fields
            or limits.header_line_bytes < LINE_BYTES
        ):
            return self._known(data, line_end, end) or self._parsed(data[:end], line_end, minor)
        return RequestHead(start[0], start[1], minor, block, start[3], host)

    def _keep(self, start: bytes, seen: int) -> None:
        """Hold the start of a head, of which `seen` bytes were held before; garbage is refused at once."""
        limits = self._limits
        self.partial = start
        half = start.endswith(b"\r")  # of a line end, or of nothing that may be
        line_end = start.find(_CRLF)
        if line_end < 0:
            if len(start) - half > limits.request_line_bytes:
                raise _uri_too_long()
            if _LINE_SO_FAR.fullmatch(start) is None:
                raise LocalReply(400, Reason.BAD_REQUEST, "malformed request line", close=True)
            return
        self._minor(start, line_end)
        if len(start) > limits.request_head_bytes:
            raise _header_too_large("request head too large")
        self._lines += start.count(_CRLF, max(0, seen - 1))
        if self._lines - 1 > limits.request_fields:
            raise _header_too_large("too many header fields")
        if len(start) - half - start.rfind(_CRLF) - 2 > limits.header_line_bytes:
            raise _header_too_large("header line too long")
        if _NEVER_IN_A_HEAD.search(start, max(0, seen - 1)):
            raise LocalReply(400, Reason.BAD_REQUEST, "malformed request", close=True)

    def _known(self, data: bytes, line_end: int, end: int) -> RequestHead | None:
        """The head, if every line of it is known and its target is in origin-form."""
        line = data[:line_end]
        start = _request_lines.starts.get(line)
        if start is None:
            match = _ORIGIN_FORM.fullmatch(line)
            known = None if match is None else _methods.get(match[1])
            if match is None or known is None:
                return None
            target = match[2].decode("ascii")
            try:
                path, _ = canonicalise(target)
            except LocalReply:
                return None  # it is refused when its turn comes
            start = (known, target, match[3][0] - 48, path)
            _request_lines.learn_start(line, start)
        method, target, minor, path = start
        lines = data[line_end + 2 : end - 4].split(_CRLF)
        limits = self._limits
        if len(lines) > limits.request_fields or limits.header_line_bytes < LINE_BYTES:
            return None
        host, lines = _without_plain_host(lines, minor)
        if not _request_lines.lines.issuperset(lines):
            return None
        raw = data[line_end - 1 if host is None else data.find(_CRLF, line_end + 2) : end]
        block = _request_lines.blocks.get(raw)
        if block is None:
            block = FieldBlock(lines, minor)
            _request_lines.learn_block(raw, block)
        return RequestHead(method, target, minor, block, path, host)

    def _parsed(self, head: bytes, line_end: int, minor: int) -> RequestHead:
        """The head as the parser reads it. A parser of its own: no head can leave anything behind for the next."""
        limits = self._limits
        lines = head[line_end + 2 : -4].split(_CRLF) if len(head) > line_end + 4 else []
        if any(len(line) > limits.header_line_bytes for line in lines):
            raise _header_too_large("header line too long")
        parser: Any = HttpRequestParser(
            _NO_PAYLOAD,
            self._loop,
            65536,
            max_line_size=limits.request_head_bytes,  # lines are measured here: the parser forgets names
            max_field_size=limits.request_head_bytes,
            max_headers=limits.request_fields,
            response_with_body=False,  # the message ends with its head, whatever framing it announces
            auto_decompress=False,
        )
        try:
            messages = parser.feed_data(head)[0]
        except (HttpProcessingError, ValueError) as error:
            raise self._refusal(error, head) from None
        if len(messages) != 1 or len(messages[0][0].raw_headers) != len(lines):
            raise LocalReply(400, Reason.BAD_REQUEST, "malformed request", close=True)
        message = messages[0][0]
        if len(message.method) + len(message.path) + 10 != line_end:  # RFC 9112 section 3: single spaces
            raise LocalReply(400, Reason.BAD_REQUEST, "malformed request line", close=True)
        _methods[message.method.encode("ascii")] = message.method
        host, lines = _without_plain_host(lines, minor)
        _request_lines.learn(line for line in lines if not line.lower().startswith(_NEVER_LEARNED))
        return RequestHead(message.method, message.path, minor, FieldBlock(lines, minor), host=host)

    def _minor(self, data: bytes, line_end: int) -> int:
        """The minor version of the request line that `data` begins with."""
        if line_end > self._limits.request_line_bytes:
            raise _uri_too_long()
        minor = _MINOR_VERSION.get(data[line_end - 8 : line_end])
        if minor is None:
            if _OTHER_MAJOR.fullmatch(data, 0, line_end):
                raise LocalReply(505, Reason.VERSION_NOT_SUPPORTED, "only HTTP/1.0 and HTTP/1.1", close=True)
            raise LocalReply(400, Reason.BAD_REQUEST, "malformed request line", close=True)
        return minor

    def _refusal(self, error: Exception, head: bytes) -> LocalReply:
        """Which answer a parser's error deserves; its text may hold the client's bytes and is not shown."""
        if isinstance(error, BadHttpMethod) and _UNKNOWN_METHOD.match(head):
            return LocalReply(501, Reason.METHOD_NOT_IMPLEMENTED, "unknown method", close=True)
        if head.count(_CRLF) - 2 > self._limits.request_fields:
            return _header_too_large("too many header fields")
        return LocalReply(400, Reason.BAD_REQUEST, "malformed request", close=True)


def _without_plain_host(lines: list[bytes], minor: int) -> tuple[tuple[str, str] | None, list[bytes]]:
    """The Host that comes first, if it is plain and the only one, and the other lines; else None and all lines."""
    if minor and lines and lines[0].startswith(b"Host: "):
        host = plain_authority(lines[0][6:])
        if host is not None and not any(line[:5].lower() == b"host:" for line in lines[1:]):
            return host, lines[1:]
    return None, lines


def _uri_too_long() -> LocalReply:
    return LocalReply(414, Reason.URI_TOO_LONG, "request line too long", close=True)


def _header_too_large(detail: str) -> LocalReply:
    return LocalReply(431, Reason.HEADER_TOO_LARGE, detail, close=True)


class MalformedResponse(Exception):
    """An upstream sent what RFC 9112 does not allow; the message says what, without its bytes."""


class ResponseHeadReader:
    """Reads response heads from an upstream connection. Raises MalformedResponse, and LocalReply for bad fields."""

    __slots__ = ("_limits", "_loop", "_partial", "leftover")

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._limits = limits
        self._loop = loop
        self._partial = b""
        self.leftover = b""

    def forget(self) -> None:
        """Drop what has come of a head: its connection is gone."""
        self._partial = b""
        self.leftover = b""

    @property
    def idle(self) -> bool:
        """No byte of the next head has come."""
        return not self._partial

    def feed(self, data: bytes) -> ResponseHead | None:
        """The next head, or None while it is not whole."""
        partial = self._partial
        if partial:
            data = partial + data
        end = data.find(_HEAD_END, max(0, len(partial) - 3)) + 4
        if end < 4:
            if len(data) > self._limits.response_head_bytes:
                raise MalformedResponse(f"response head above {self._limits.response_head_bytes} bytes")
            if not b"HTTP/1.".startswith(data[:7]):
                raise MalformedResponse("not an HTTP/1.x response")
            if _NEVER_IN_A_HEAD.search(data, max(0, len(partial) - 1)):
                raise MalformedResponse("malformed response head")  # its end may never come
            self._partial = data
            return None
        self._partial = b""
        if end > self._limits.response_head_bytes:
            raise MalformedResponse(f"response head above {self._limits.response_head_bytes} bytes")
        raw = data[:end]
        self.leftover = data[end:] if end < len(data) else b""
        head = _response_lines.blocks.get(raw)
        if head is not None and len(head.lines) <= self._limits.response_fields:
            return head
        lines = raw[:-4].split(_CRLF)
        line = lines.pop(0)
        start = _response_lines.starts.get(line)
        if start is None:
            match = _STATUS_LINE.fullmatch(line)
            if match is None:
                raise MalformedResponse("malformed status line")
            start = (int(match[2]), match[3] or b"", match[1][0] - 48)
            _response_lines.learn_start(line, start)
        if not _response_lines.lines.issuperset(lines) or len(lines) > self._limits.response_fields:
            self._check(raw, lines)
        status, reason, minor = start
        head = ResponseHead(status, reason, minor, lines)
        _response_lines.learn_block(raw, head)
        return head

    def _check(self, head: bytes, lines: FieldLines) -> None:
        """Two opinions about a head that has something new in it: the grammar's and the parser's."""
        if _RESPONSE_HEAD.fullmatch(head) is None:
            raise MalformedResponse("malformed response head")
        limits = self._limits
        parser: Any = HttpResponseParser(
            _NO_PAYLOAD,
            self._loop,
            65536,
            max_line_size=limits.response_head_bytes,
            max_field_size=limits.response_head_bytes,
            max_headers=limits.response_fields,
            response_with_body=False,
            auto_decompress=False,
        )
        try:
            messages = parser.feed_data(head)[0]
        except (HttpProcessingError, ValueError) as error:
            raise MalformedResponse(f"malformed response head: {type(error).__name__}") from None
        if len(messages) != 1 or len(messages[0][0].raw_headers) != len(lines):
            raise MalformedResponse("malformed response head")
        _response_lines.learn(lines)
