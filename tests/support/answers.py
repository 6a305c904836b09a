"""Answers as a strict client reads them: bytes enter, answers leave. What is not HTTP/1.1 raises NotHttp."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = re.compile(
    rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: ?[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


class NotHttp(Exception):
    """The bytes are no answer that RFC 9112 knows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `body` is decoded; `complete`: its end was there, and not only the end of the connection."""

    status: int
    head: bytes
    body: bytes
    complete: bool

    def field(self, name: bytes) -> bytes | None:
        """The value of the only field with this name, or None."""
        values = field_values(self.head, name)
        if len(values) > 1:
            raise NotHttp(f"several {name.decode()} fields")
        return values[0] if values else None


def field_values(head: bytes, name: bytes) -> list[bytes]:
    """The values of all fields with this name, in order."""
    lines = head.split(b"\r\n")[1:-2]
    pairs = (line.partition(b":") for line in lines)
    return [value.strip(b" \t") for key, _, value in pairs if key.lower() == name.lower()]


def read_answers(data: bytes, methods: Sequence[str], *, closed: bool) -> tuple[list[Answer], bytes]:
    """The answers in `data`, interim ones too, and what follows them.

    `methods`: of the requests that were sent, the last one is taken for all that follow it. An answer that is not
    whole yet is left out while the connection is open, and is not `complete` when it is `closed`.
    """
    answers: list[Answer] = []
    finals = 0
    while data:
        answer, rest = _read_answer(data, methods[min(finals, len(methods) - 1)], closed=closed)
        if answer is None:
            break
        answers.append(answer)
        finals += answer.status >= 200
        data = rest
        if not answer.complete or answer.status == 101:
            break
    return answers, data


def _read_answer(data: bytes, method: str, *, closed: bool) -> tuple[Answer | None, bytes]:
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        if closed:
            raise NotHttp(f"half a head: {data[:200]!r}")
        return None, data
    match = _HEAD.fullmatch(data, 0, end)
    if match is None:
        raise NotHttp(f"malformed head: {data[:end]!r}")
    head, status = data[:end], int(match[1])
    lengths, codings = field_values(head, b"content-length"), field_values(head, b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise NotHttp(f"more than one framing: {head!r}")
    bodiless = status < 200 or status in {204, 304} or method == "HEAD"
    if (status < 200 or status == 204) and (lengths or codings):
        raise NotHttp(f"framing where no body can be: {head!r}")
    if bodiless:
        return Answer(status, head, b"", True), data[end:]
    if codings:
        if codings[0] != b"chunked":
            raise NotHttp(f"unknown coding: {head!r}")
        body, rest = _read_chunks(data[end:])
    elif lengths:
        size = int(lengths[0])
        whole = len(data) - end >= size
        body, rest = data[end : end + size], data[end + size :] if whole else None
    else:
        if b"close" not in field_values(head, b"connection"):
            raise NotHttp(f"a body without an end: {head!r}")
        return (Answer(status, head, data[end:], True), b"") if closed else (None, data)
    if rest is None:
        return (Answer(status, head, body, False), b"") if closed else (None, data)
    return Answer(status, head, body, True), rest


def _read_chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """The payload, and what follows the last chunk; None when there is no last chunk."""
    body = b""
    while True:
        match = _CHUNK.match(data)
        if match is None:
            if b"\r\n" in data:
                raise NotHttp(f"malformed chunk: {data[:40]!r}")
            return body, None
        size, start = int(match[1], 16), match.end()
        if len(data) < start + size + 2:
            return body + data[start : start + size], None
        if data[start + size : start + size + 2] != b"\r\n":
            raise NotHttp(f"chunk without its line end: {data[:40]!r}")
        body += data[start : start + size]
        data = data[start + size + 2 :]
        if not size:
            return body, data
