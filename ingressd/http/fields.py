"""Header fields: what may pass to the other side, and what the proxy reads itself.

In: field lines as the codec gives them (without NUL, CR and LF). Out: RequestFields or ResponseFields, with lines
ready to send. It decides nothing about bodies: that is framing.py. It never sees a peer's address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from ingressd.errors import LocalReply, Reason
from ingressd.http.field_rules import (
    CLAIMS,
    FRAMING,
    HOP_BY_HOP,
    NEVER_FORWARDED,
    SINGLE,
    connection_options,
    is_claim,
    line_name,
    line_value,
    raw_name,
    valid_name,
)
from ingressd.memo import remember

FieldLines = Sequence[bytes]
"""`Name: value`, without line ends."""

# Clients choose what they send: only short lines are remembered.
_REMEMBERED = 8192
_REMEMBERED_IN_RESPONSES = 1024  # a new Date comes each second
_REMEMBERED_BYTES = 512


class _Role(Enum):
    """What is done with a field."""

    KEEP = auto()
    ONCE = auto()
    HOST = auto()
    CONNECTION = auto()
    USER_AGENT = auto()
    ACCEPT = auto()
    REFERER = auto()
    CONTENT_LENGTH = auto()
    TRANSFER_ENCODING = auto()
    EXPECT = auto()
    UPGRADE = auto()
    CLAIM = auto()
    DROP = auto()


# Globals: a name of the module is found faster than one of the class.
_KEEP, _ONCE, _HOST, _CONNECTION, _USER_AGENT, _ACCEPT, _REFERER = tuple(_Role)[:7]
_CONTENT_LENGTH, _TRANSFER_ENCODING, _EXPECT, _UPGRADE, _CLAIM, _DROP = tuple(_Role)[7:]

_REQUEST_ROLES = {
    b"host": _HOST,
    b"connection": _CONNECTION,
    b"user-agent": _USER_AGENT,
    b"accept": _ACCEPT,
    b"referer": _REFERER,
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"expect": _EXPECT,
    b"upgrade": _UPGRADE,
    **dict.fromkeys(SINGLE, _ONCE),
    **dict.fromkeys(CLAIMS, _CLAIM),
    **dict.fromkeys(NEVER_FORWARDED, _DROP),
    **dict.fromkeys(HOP_BY_HOP - {b"connection", b"upgrade", b"transfer-encoding"}, _DROP),
}
_RESPONSE_ROLES = {
    b"connection": _CONNECTION,
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"upgrade": _UPGRADE,
    **dict.fromkeys(HOP_BY_HOP - {b"connection", b"upgrade", b"transfer-encoding"}, _DROP),
}

# Line as sent -> its role, and what is kept of it: the line with its CRLF, or the value alone.
_Known = dict[bytes, tuple[_Role, bytes]]
_known_in_requests: _Known = {}
_known_in_responses: _Known = {}

_WITH_LINE = frozenset({_KEEP, _ONCE, _USER_AGENT, _ACCEPT, _REFERER})
_WITH_LINE_IN_RESPONSES = frozenset({_KEEP, _CONTENT_LENGTH})

_CONNECTION_WORDS = frozenset({b"close", b"keep-alive", b"upgrade"})
_NEVER_STRIPPED = FRAMING | {b"host"}


class FieldBlock:
    """The field lines of one request, walked once: a client that says the same again gets the same block."""

    __slots__ = ("_fields", "_minor", "lines")

    def __init__(self, lines: FieldLines, minor: int) -> None:
        self.lines = lines
        self._minor = minor
        self._fields: RequestFields | None = None

    @property
    def fields(self) -> RequestFields:
        """What they say. Raises LocalReply."""
        fields = self._fields
        if fields is None:
            fields = self._fields = request_fields(self.lines, self._minor)
        return fields


class RequestFields:
    """What a request's fields say to the proxy, and the lines that go upstream."""

    __slots__ = (
        "_by_name",
        "_names",
        "accept",
        "claims",
        "close",
        "content_length",
        "expect",
        "host",
        "keep_alive",
        "kept",
        "kept_bytes",
        "referer",
        "transfer_encoding",
        "upgrades_to_websocket",
        "user_agent",
    )

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        """`Name: value` lines with their CRLF, in order: everything end to end that the proxy does not write itself."""
        self.kept_bytes = b""
        """All of `kept`, ready to send."""
        self.host: bytes | None = None
        """Unless it was taken out of the block (RequestHead.host)."""
        self.content_length: bytes | None = None
        """As sent; several fields are joined with a comma, so that framing.py sees that there were several."""
        self.transfer_encoding: bytes | None = None
        """As sent, joined like `content_length`."""
        self.close = False
        self.keep_alive = False
        self.upgrades_to_websocket = False
        self.expect: bytes | None = None
        self.user_agent: str | None = None
        self.referer = ""
        self.accept: bytes | None = None
        """The value."""
        self.claims: dict[bytes, bytes] | None = None
        """Lower-case name -> value of the fields in CLAIMS; several fields are joined with a comma."""
        self._by_name: dict[str, str] | None = None
        self._names: list[str] | None = None

    @property
    def names(self) -> list[str]:
        """The names of `kept` in lower case, one for each line."""
        names = self._names
        if names is None:
            names = self._names = [line_name(line) for line in self.kept]
        return names

    @property
    def by_name(self) -> Mapping[str, str]:
        """Lower-case name -> value of `kept` and `claims`, several joined with a comma; cookies with a semicolon."""
        by_name = self._by_name
        if by_name is None:
            by_name = self._by_name = {
                name.decode("ascii"): value.decode("latin-1") for name, value in (self.claims or {}).items()
            }
            for line in self.kept:
                name = line_name(line)
                value = line_value(line).decode("latin-1")
                if name in by_name:
                    value = f"{by_name[name]}{'; ' if name == 'cookie' else ', '}{value}"
                by_name[name] = value
        return by_name


class ResponseFields:
    """What a response's fields say to the proxy, and the lines that go to the client."""

    __slots__ = (
        "_names",
        "close",
        "content_length",
        "filtered",
        "keep_alive",
        "kept",
        "kept_bytes",
        "transfer_encoding",
        "upgrades_to_websocket",
    )

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self.filtered: tuple[object, bytes] | None = None
        """Some filters, and what they make of `kept`, if that is always the same; else nothing."""
        self.kept: list[bytes] = []
        """As in RequestFields, but Content-Length stays: a body of known length keeps it."""
        self.kept_bytes = b""
        """As in RequestFields."""
        self.content_length: bytes | None = None
        """As in RequestFields."""
        self.transfer_encoding: bytes | None = None
        """As in RequestFields."""
        self.close = False
        self.keep_alive = False
        self.upgrades_to_websocket = False

    @property
    def names(self) -> list[str]:
        """As in RequestFields."""
        names = self._names
        if names is None:
            names = self._names = [line_name(line) for line in self.kept]
        return names

    def drop_content_length(self) -> None:
        """For the responses that must not have one (RFC 9110 section 8.6)."""
        self._names = self.filtered = None
        self.kept[:] = [line for line in self.kept if raw_name(line) != b"content-length"]
        self.kept_bytes = b"".join(self.kept)


def request_fields(lines: FieldLines, minor: int) -> RequestFields:
    """Walk the fields of an HTTP/1.`minor` request once.

    Dropped: hop-by-hop fields and those that Connection names (RFC 9110 section 7.6.1), CLAIMS, NEVER_FORWARDED and
    names with an underscore, which many backends take for the same name with a hyphen. Raises LocalReply.
    """
    fields = RequestFields()
    kept = fields.kept
    known = _known_in_requests
    options: frozenset[bytes] | None = None
    upgrade: bytes | None = None
    for line in lines:
        role, content = known.get(line) or _learn_request(line)
        if role is _KEEP:
            kept.append(content)
        elif role is _HOST:
            if fields.host is not None:
                raise _repeated("Host")
            fields.host = content
        elif role is _CONNECTION:
            options = connection_options(content) if options is None else options | connection_options(content)
        elif role is _USER_AGENT:
            if fields.user_agent is not None:
                raise _repeated("User-Agent")
            fields.user_agent = line_value(content).decode("latin-1")
            kept.append(content)
        elif role is _ACCEPT:
            fields.accept = _joined(fields.accept, line_value(content))
            kept.append(content)
        elif role is _REFERER:
            fields.referer = line_value(content).decode("latin-1")
            kept.append(content)
        elif role is _CLAIM:
            claims = fields.claims
            if claims is None:
                fields.claims = claims = {}
            name = raw_name(line)
            claims[name] = _joined(claims.get(name), content)
        elif role is _CONTENT_LENGTH:
            fields.content_length = _joined(fields.content_length, content)
        elif role is _TRANSFER_ENCODING:
            fields.transfer_encoding = _joined(fields.transfer_encoding, content)
        elif role is _EXPECT:
            fields.expect = _joined(fields.expect, content)
        elif role is _UPGRADE:
            upgrade = _joined(upgrade, content)
        elif role is _ONCE:
            name = raw_name(line)
            if any(raw_name(other) == name for other in kept):
                raise _repeated(name.decode("ascii").title())
            kept.append(content)
    if options is not None:
        fields.close = b"close" in options
        fields.keep_alive = b"keep-alive" in options
        # RFC 9110 section 7.8: Upgrade is ignored in HTTP/1.0, and without its Connection option.
        if upgrade is not None and minor and b"upgrade" in options:
            fields.upgrades_to_websocket = upgrade.lower() == b"websocket"
        if not options <= _CONNECTION_WORDS:
            fields.kept = kept = _without(kept, options)
    fields.kept_bytes = b"".join(kept)
    return fields


def response_fields(lines: FieldLines) -> ResponseFields:
    """Walk the fields of a response once. Dropped: hop-by-hop fields and those that Connection names.

    Raises LocalReply (502) for a name that is not a token.
    """
    fields = ResponseFields()
    kept = fields.kept
    known = _known_in_responses
    options: frozenset[bytes] | None = None
    upgrade: bytes | None = None
    for line in lines:
        role, content = known.get(line) or _learn_response(line)
        if role is _KEEP:
            kept.append(content)
        elif role is _CONTENT_LENGTH:
            fields.content_length = _joined(fields.content_length, line_value(content))
            kept.append(content)
        elif role is _CONNECTION:
            options = connection_options(content) if options is None else options | connection_options(content)
        elif role is _TRANSFER_ENCODING:
            fields.transfer_encoding = _joined(fields.transfer_encoding, content)
        elif role is _UPGRADE:
            upgrade = _joined(upgrade, content)
    if options is not None:
        fields.close = b"close" in options
        fields.keep_alive = b"keep-alive" in options
        if upgrade is not None and b"upgrade" in options:
            fields.upgrades_to_websocket = upgrade.lower() == b"websocket"
        if not options <= _CONNECTION_WORDS:
            fields.kept = kept = _without(kept, options)
    fields.kept_bytes = b"".join(kept)
    return fields


def _repeated(name: str) -> LocalReply:
    return LocalReply(400, Reason.BAD_REQUEST, f"several {name} fields", close=True)


def _joined(before: bytes | None, value: bytes) -> bytes:
    """One value of several fields with the same name (RFC 9110 section 5.3)."""
    return value if before is None else b"%b, %b" % (before, value)


def _without(kept: list[bytes], options: frozenset[bytes]) -> list[bytes]:
    """The lines that Connection does not name; framing and Host are not its to remove."""
    named = options - _NEVER_STRIPPED
    return [line for line in kept if raw_name(line) not in named]


def _learn_request(line: bytes) -> tuple[_Role, bytes]:
    """The role of a line as a client sent it. Raises LocalReply."""
    name, value = _split(line)
    if valid_name(name) is None:
        raise LocalReply(400, Reason.BAD_REQUEST, "malformed field name", close=True)
    lower = name.lower()
    if is_claim(lower):
        role = _CLAIM
    elif b"_" in lower:
        role = _DROP
    else:
        role = _REQUEST_ROLES.get(lower, _KEEP)
    content = b"%b: %b\r\n" % (name, value) if role in _WITH_LINE else value
    return _noted(_known_in_requests, line, (role, content), _REMEMBERED)


def _learn_response(line: bytes) -> tuple[_Role, bytes]:
    """The role of a line as an endpoint sent it. Raises LocalReply."""
    name, value = _split(line)
    if valid_name(name) is None:
        raise LocalReply(502, Reason.BAD_GATEWAY_RESPONSE, "malformed field name", close=True)
    role = _RESPONSE_ROLES.get(name.lower(), _KEEP)
    content = b"%b: %b\r\n" % (name, value) if role in _WITH_LINE_IN_RESPONSES else value
    return _noted(_known_in_responses, line, (role, content), _REMEMBERED_IN_RESPONSES)


def _split(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def _noted(known: _Known, line: bytes, entry: tuple[_Role, bytes], most: int) -> tuple[_Role, bytes]:
    return remember(known, line, entry, most) if len(line) <= _REMEMBERED_BYTES else entry
