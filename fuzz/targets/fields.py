"""Fields: nothing but end-to-end fields passes, line by line as it came; and no answer of ours has a line too many.

In: a byte of choices, then field lines with any bytes but those that the codec keeps out (NUL, CR, LF).
"""

from __future__ import annotations

from ingressd.errors import LocalReply, Reason
from ingressd.http import fields
from ingressd.http.field_rules import CLAIMS, FRAMING, HOP_BY_HOP, NEVER_FORWARDED, valid_name
from ingressd.http.fields import request_fields, response_fields
from ingressd.http.framing import request_framing, response_framing
from ingressd.http.local_reply import render

WORDS = (
    b"Host: a\n", b"Connection: close\n", b"Connection: keep-alive, X-A\n", b"Content-Length: 5\n", b"TE: trailers\n",
    b"Transfer-Encoding: chunked\n", b"Upgrade: websocket\n", b"Accept: text/html;q=0.5, */*\n",
    b"X-Forwarded-For: a\n", b"x_y: 1\n", b"Proxy: a\n", b"X-A: 1\n", b"Content-Type: a\n", b"User-Agent: a\n",
    b"Expect: 100-continue\n", b";q=", b"application/problem+json", b"Keep-Alive: 5\n", b"HTTP2-Settings: a\n",
    b"X-Original-URI: /\n", b"ssl-client-dn: a\n", b"gzip, chunked", b", ", b"5, 5", b"+5", b"Forwarded: for=a\n",
    b"Proxy-Authorization: a\n", b"Server: a\n",
)  # fmt: skip

_NEVER = HOP_BY_HOP | NEVER_FORWARDED | CLAIMS | {b"host", b"expect", b"transfer-encoding"}
_PREFIXES = (b"ssl-client-", b"x-auth-request-", b"x-forwarded-", b"x-original-")
_STATUSES = (200, 204, 304, 101, 100, 404)


def check(data: bytes) -> None:
    choices, text = (data[0], data[1:]) if data else (0, b"")
    lines = [line for line in text.translate(None, b"\0\r").split(b"\n") if b":" in line]
    fields._known_in_requests.clear()
    fields._known_in_responses.clear()
    assert _of_request(lines, choices & 1) == _of_request(lines, choices & 1), "remembered as something else"
    status = _STATUSES[choices >> 1 & 7] if choices >> 1 & 7 < len(_STATUSES) else 500
    assert _of_response(lines, status) == _of_response(lines, status), "remembered as something else"
    _render(lines, choices)


def _of_request(lines: list[bytes], minor: int) -> object:
    try:
        said = request_fields(lines, minor)
    except LocalReply as refused:
        assert refused.status == 400
        assert refused.close
        return refused.detail
    named = _named(lines) - {b"host"}
    for name in _passed(said.kept, said.kept_bytes, lines):
        assert name not in _NEVER | named | FRAMING, name
        assert b"_" not in name
        assert not name.startswith(_PREFIXES), name
    if said.upgrades_to_websocket:
        assert minor
        assert b"upgrade" in named
    try:
        framing = str(request_framing(minor, said))
    except LocalReply as refused:
        assert refused.status in {400, 501}
        assert refused.close
        framing = refused.detail
    return said.kept_bytes, said.host, said.claims, said.close, said.keep_alive, said.accept, framing


def _of_response(lines: list[bytes], status: int) -> object:
    try:
        said = response_fields(lines)
    except LocalReply as refused:
        assert refused.status == 502
        return refused.detail
    hop_by_hop = HOP_BY_HOP | (_named(lines) - {b"content-length", b"host"})
    for name in _passed(said.kept, said.kept_bytes, lines):
        assert name not in hop_by_hop, name
    try:
        framing = str(response_framing("GET", status, said))
    except LocalReply as refused:
        assert refused.status == 502
        return refused.detail
    names = _passed(said.kept, said.kept_bytes, lines)
    assert names.count(b"content-length") <= 1
    if status == 204 or status < 200:
        assert b"content-length" not in names
    return said.kept_bytes, said.close, said.keep_alive, framing


def _named(lines: list[bytes]) -> set[bytes]:
    """What the Connection fields name."""
    values = [line.partition(b":")[2] for line in lines if line.partition(b":")[0].lower() == b"connection"]
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")} - {b""}


def _passed(kept: list[bytes], kept_bytes: bytes, lines: list[bytes]) -> list[bytes]:
    """The names of the lines that pass; each is one of those that came."""
    assert b"".join(kept) == kept_bytes
    came = {(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)}
    names = []
    for line in kept:
        assert line.endswith(b"\r\n")
        assert line.count(b"\r") == line.count(b"\n") == 1
        name, _, value = line[:-2].partition(b": ")
        assert (name, value) in came
        names.append(name.lower())
    return names


def _render(lines: list[bytes], choices: int) -> None:
    """An answer of ours, whatever Accept says and whatever of the request is in its fields."""
    accept = next((line.partition(b":")[2] for line in lines), None)
    headers = tuple((name, value) for name, _, value in (line.partition(b":") for line in lines))
    status = (301, 400, 404, 503)[choices & 3]
    reply = LocalReply(status, Reason.BAD_REQUEST, "<detail>", headers=(*headers, (b"location", b"a\r\nb")))
    method = "HEAD" if choices & 4 else "GET"
    rendered, body_bytes = render(
        reply,
        accept=accept,
        method=method,
        keep_alive=bool(choices & 8),
        version_10=bool(choices & 16),
        request_id="0" * 32,
        now=0.0,
    )
    head, _, body = rendered.partition(b"\r\n\r\n")
    assert len(body) == (0 if method == "HEAD" else body_bytes)
    assert not body.startswith(b"<!doctype html>") or b"<detail>" not in body
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert all(valid_name(name) for name in names)
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert names.count(b"Content-Length") >= 1
