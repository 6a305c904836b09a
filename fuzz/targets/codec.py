"""Heads and framing: the same requests, however they are cut and whatever was read before, and those that h11 reads.

In: a byte of choices, a byte that decides the cuts, and the bytes of a connection. The edge may refuse what h11 takes;
it may not take what h11 refuses, nor see another request in the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11

from fuzz.targets.cuts import ways
from ingressd.errors import LocalReply
from ingressd.http import codec, fields
from ingressd.http.authority import canonical_host
from ingressd.http.codec import MalformedResponse, RequestHeadReader, ResponseHeadReader
from ingressd.http.framing import body_decoder, request_framing, response_framing
from ingressd.http.line_memory import LineMemory
from ingressd.http.target import canonicalise, split_absolute
from ingressd.settings import Limits

WORDS = (
    b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"Host: a\r\n", b"Content-Length: 5\r\n\r\nhello",
    b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive, x-a\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\x00", b"\x0b", b" ", b"\t", b": ",
    b"Content-Length: 0\r\n", b"Upgrade: websocket\r\n", b"HTTP/1.0", b"Content-Type: a\r\n",
    b"Sec-WebSocket-Key1: a\r\n", b"http://b/", b"HEAD", b"OPTIONS * HTTP/1.1", b"HTTP/2.0", b"PRI",
)  # fmt: skip

_LIMITS = Limits(
    request_line_bytes=200,
    header_line_bytes=200,
    request_head_bytes=1000,
    request_fields=12,
    response_head_bytes=1000,
    response_fields=12,
)
_MESSAGES = 4
_REFUSALS = {400, 414, 431, 501, 502, 505}
_loop = asyncio.new_event_loop()  # the parser wants one, and does nothing with it

Outcome = list[Any]
"""Messages as they were understood, and behind them `refused`, or what is left."""


def check(data: bytes) -> None:
    choices, seed, stream = (data[0], data[1], data[2:]) if len(data) > 1 else (0, 0, b"")
    read: Callable[[list[bytes]], Outcome]
    if choices & 1:
        method = ("GET", "HEAD")[choices >> 1 & 1]

        def read(pieces: list[bytes]) -> Outcome:
            return _responses(pieces, method)
    else:
        read = _requests
    forget()
    first = read([stream])
    assert read([stream]) == first, "remembered as something else"
    for pieces in ways(stream, seed):
        forget()
        assert _agree(read(pieces), first), pieces
        assert _agree(read(pieces), first), "remembered as something else"
    if not choices & 1:
        _beside_h11(stream, [each for each in first if isinstance(each, tuple)])


def _agree(one: Outcome, other: Outcome) -> bool:
    """The same messages, and the same end. What can become no head may be refused before all of it has come."""
    early = {one[-1], other[-1]} == {"refused", "incomplete"} if isinstance(one[-1], str) else False
    return one == other or (early and one[:-1] == other[:-1])


def forget() -> None:
    """As a new process begins."""
    codec._request_lines = LineMemory()
    codec._response_lines = LineMemory()
    codec._methods.clear()
    fields._known_in_requests.clear()
    fields._known_in_responses.clear()


def _requests(pieces: list[bytes]) -> Outcome:
    """What the edge takes for requests, up to what it refuses."""
    reader = RequestHeadReader(_LIMITS, _loop)

    def message(data: bytes) -> tuple[Any, Any] | None:
        head = reader.feed(data)
        if head is None:
            assert len(reader.partial) <= _LIMITS.request_head_bytes + len(data)
            return None
        said = head.block.fields
        framing = request_framing(head.minor, said)
        if head.host is not None:
            assert head.host[1] == canonical_host(head.host[0].encode("ascii")), "another host"
            assert said.host is None, "two hosts"
        host, target = said.host if head.host is None else head.host[0].encode("ascii"), head.target
        if not target.startswith("/") and target != "*":
            _, authority, target = split_absolute(target)
            host = authority.encode("ascii")
        canonical_host(host or b"")
        if target != "*":
            canonicalise(target)
        assert head.path in {"", canonicalise(target)[0] if target != "*" else ""}, "another path"
        understood = (head.method, head.target, head.minor, tuple(head.lines), said.kept_bytes, str(framing))
        return understood, body_decoder(framing, _LIMITS, request=True)

    return _messages(pieces, reader, message)


def _responses(pieces: list[bytes], method: str) -> Outcome:
    reader = ResponseHeadReader(_LIMITS, _loop)

    def message(data: bytes) -> tuple[Any, Any] | None:
        head = reader.feed(data)
        if head is None:
            assert len(reader._partial) <= _LIMITS.response_head_bytes + len(data)
            return None
        assert head.start.count(b"\r\n") == 1
        assert not {b"\n", b"\r", b"\0"} & {line[at : at + 1] for line in head.lines for at in range(len(line))}
        said = head.fields
        framing = response_framing(method, head.status, said, head.minor)
        understood = (head.status, head.reason, head.minor, tuple(head.lines), said.kept_bytes, str(framing))
        return understood, body_decoder(framing, _LIMITS)

    return _messages(pieces, reader, message)


def _messages(pieces: list[bytes], reader: Any, message: Callable[[bytes], tuple[Any, Any] | None]) -> Outcome:
    """One message after the other, as a connection reads them: heads by the reader, bodies by their decoders."""
    found: Outcome = []
    decoder: Any = None
    body: list[bytes] = []
    head: Any = None
    try:
        for piece in pieces:
            data = piece
            while data and len(found) < _MESSAGES:
                if head is None:
                    read = message(data)
                    if read is None:
                        break
                    head, decoder = read
                    body = []
                    data = reader.leftover
                if decoder is not None:
                    body += decoder.feed(data) if data else []
                    if not decoder.complete:
                        break
                    data = decoder.leftover
                found.append((*head, b"".join(body)))
                head = None
    except LocalReply as refused:
        # Which of two mistakes is met first may depend on the cuts: that there is one may not.
        assert refused.status in _REFUSALS, refused.status
        return [*found, "refused"]
    except MalformedResponse:
        return [*found, "refused"]
    if len(found) == _MESSAGES:
        return found
    return [*found, "idle" if head is None and reader.idle else "incomplete"]


def _beside_h11(stream: bytes, taken: list[tuple[Any, ...]]) -> None:
    """h11 reads each request that the edge takes whole, with the same body."""
    for method, target, minor, lines, _, _, body in taken:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(stream.removeprefix(b"\r\n"))  # RFC 9112 section 2.2; h11 does not skip it
        head, theirs = None, b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                head = event
            else:
                assert isinstance(event, h11.Data), (event, taken)
                theirs += event.data
        assert head is not None
        assert (head.method.decode(), head.target.decode("latin-1"), theirs) == (method, target, body)
        assert head.http_version == b"1.%d" % minor
        ours = [line.lower().partition(b":") for line in lines]
        assert [(name, value.strip(b" \t")) for name, _, value in ours] == [(n, v.lower()) for n, v in head.headers]
        stream = connection.trailing_data[0]
