"""Field rules: which fields are for one connection, for framing, or a peer's claims; and the grammar of a line.

Names are lower-case bytes. What is done with a message's fields by these rules is fields.py's.
"""

from __future__ import annotations

import re

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # Credentials between a client and a forward proxy (RFC 9110 section 11.7). ingressd asks for none, and an
        # endpoint that could would make browsers ask people for a proxy's password.
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
    }
)
"""RFC 9110 section 7.6.1, with `Trailer` and the Proxy fields of RFC 2616 section 13.5.1: for one connection only."""

FRAMING = frozenset({b"content-length", b"transfer-encoding"})
"""Fields that say where a body ends; the proxy writes its own."""

NEVER_FORWARDED = frozenset({b"proxy", b"http2-settings"})
"""`Proxy` becomes HTTP_PROXY in a CGI program (httpoxy); HTTP2-Settings belongs to an upgrade that is not offered."""

CLAIMS = frozenset(
    {
        b"forwarded",
        b"front-end-https",
        b"x-real-ip",
        b"x-request-id",
        b"x-scheme",
    }
)
"""With every `X-Forwarded-*`, `X-Original-*`, `X-Auth-Request-*` and `ssl-client-*`: what a peer says about the client.

Believed from a trusted proxy, dropped from others. The last three are ingress-nginx's: its backends trust them.
"""

SINGLE = frozenset({b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards", b"server"})
"""With Host, User-Agent and the framing: what a request may say once. The parser refuses a head that repeats one of
them, so a head that is remembered line by line has to be refused as well."""

_CLAIM_PREFIXES = (b"ssl-client-", b"x-auth-request-", b"x-forwarded-", b"x-original-")
_TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"

valid_name = re.compile(rb"[" + _TCHAR + rb"]++").fullmatch
"""A token (RFC 9110 section 5.1), else None."""

valid_value = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*+(?<![\t ]))?)?").fullmatch
"""A field value without surrounding whitespace and control characters (RFC 9110 section 5.5), else None."""

_CONNECTION_OPTIONS: dict[bytes, frozenset[bytes]] = {
    value: frozenset(token.strip().lower() for token in value.split(b","))
    for value in (b"keep-alive", b"Keep-Alive", b"close", b"Upgrade", b"upgrade", b"keep-alive, Upgrade")
}


def line_value(line: bytes) -> bytes:
    """The value in a line `Name: value` with its CRLF."""
    return line[line.index(b":") + 2 : -2]


def line_name(line: bytes) -> str:
    """The name in a line, in lower case."""
    return raw_name(line).decode("ascii")


def raw_name(line: bytes) -> bytes:
    """The same as bytes."""
    return line[: line.index(b":")].lower()


def is_claim(name: bytes) -> bool:
    """Whether the field is a peer's word about the client."""
    return name in CLAIMS or name.startswith(_CLAIM_PREFIXES)


def connection_options(value: bytes) -> frozenset[bytes]:
    """The options of one Connection field, lower case (RFC 9110 section 7.6.1). What is no token is left out."""
    usual = _CONNECTION_OPTIONS.get(value)
    if usual is not None:
        return usual
    options = (option.strip(b" \t") for option in value.split(b","))
    return frozenset(option.lower() for option in options if valid_name(option))
