"""Local replies: the bytes of an answer that the proxy makes itself.

In: a LocalReply and what the request's head said. Out: one whole response. Nothing of the client's input but its
request id is in the body, no product version is in it, and a control character cannot get into its head.
"""

from __future__ import annotations

import html
import json
import time
from http import HTTPStatus

from ingressd.errors import LocalReply
from ingressd.http.field_rules import valid_name, valid_value

_TEXT = b"text/plain; charset=utf-8"
_HTML = b"text/html; charset=utf-8"
_JSON = b"application/json"

# Media range -> the representation that it asks for (RFC 9110 section 12.5.1).
_RANGES = {
    "text/*": _TEXT,
    "text/plain": _TEXT,
    "text/html": _HTML,
    "application/xhtml+xml": _HTML,
    "application/json": _JSON,
    "application/problem+json": _JSON,
    "application/*": _JSON,
}

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ACCEPT_BYTES = 1024  # browsers send a tenth of it; what follows is not worth the time
_date = (-1, b"")


def render(
    reply: LocalReply,
    *,
    accept: bytes | None,
    method: str,
    keep_alive: bool,
    version_10: bool,
    request_id: str,
    now: float,
) -> tuple[bytes, int]:
    """The whole response, and how many bytes of it are body. `now` in epoch seconds, for the Date field.

    The body is text, or what `accept` prefers of HTML and JSON. A HEAD request gets the head alone; an answer
    below 300 has no content.
    """
    status = reply.status
    phrase = _phrase(status)
    if status < 300:
        media, body = b"", b""
    else:
        media = _preferred(accept)
        body = _body(media, reply, phrase, request_id)
    # RFC 9110 section 8.6: a 204 has no length, not even none.
    length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
    lines = [
        b"HTTP/1.1 %d %b\r\nDate: %b\r\n%bx-ingressd-reason: %b\r\n"
        % (status, phrase.encode("ascii"), http_date(now), length, reply.reason.encode("ascii"))
    ]
    if media:
        lines.append(b"Content-Type: %b\r\n" % media)
    if status >= 400:
        lines.append(b"Cache-Control: no-store\r\n")
    for name, value in reply.headers:
        # A value made of a request's target must not end its line.
        if valid_name(name) and valid_value(value):
            lines.append(b"%b: %b\r\n" % (name, value))
    if not keep_alive:
        lines.append(b"Connection: close\r\n")
    elif version_10:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    if method == "HEAD":
        body = b""
    lines.append(body)
    return b"".join(lines), len(body)


def http_date(now: float) -> bytes:
    """IMF-fixdate of `now` (epoch seconds), in no locale's words (RFC 9110 section 5.6.7)."""
    global _date
    second = int(now)
    known, text = _date
    if known != second:
        at = time.gmtime(second)
        text = (
            f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04}"
            f" {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
        ).encode("ascii")
        _date = (second, text)
    return text


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _preferred(accept: bytes | None) -> bytes:
    """The representation with the highest weight; among equals the first named; text when none is named."""
    best, best_weight = _TEXT, 0.0
    if accept is None or accept == b"*/*":
        return best
    for item in accept[:_ACCEPT_BYTES].decode("latin-1").split(","):
        name, *parameters = (part.strip(" \t").lower() for part in item.split(";"))
        media = _RANGES.get(name)
        if media is not None and (weight := _weight(parameters)) > best_weight:
            best, best_weight = media, weight
    return best


def _weight(parameters: list[str]) -> float:
    """`q` of a media range, from 0 to 1; 0 for one that is no weight."""
    for parameter in parameters:
        if parameter.startswith("q="):
            digits = parameter[2:7]
            if digits.isascii() and digits.replace(".", "", 1).isdigit():
                return min(float(digits), 1.0)
            return 0.0
    return 1.0


def _body(media: bytes, reply: LocalReply, phrase: str, request_id: str) -> bytes:
    if media is _JSON:
        problem = {
            "status": reply.status,
            "reason": str(reply.reason),
            "detail": reply.detail or phrase,
            "request_id": request_id,
        }
        return json.dumps(problem).encode("ascii") + b"\n"
    if media is _HTML:
        title = f"{reply.status} {phrase}"
        detail = f"<p>{html.escape(reply.detail)}</p>\n" if reply.detail else ""
        return (
            f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<h1>{title}</h1>\n'
            f"{detail}<p><small>{reply.reason} · {html.escape(request_id)}</small></p>\n</html>\n"
        ).encode("utf-8", "replace")
    detail = f": {reply.detail}" if reply.detail else ""
    return f"{reply.status} {phrase}{detail}\n".encode("utf-8", "replace")
