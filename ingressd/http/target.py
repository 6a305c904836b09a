"""Request targets: the only decoder of paths in the program.

In: a target as the codec gives it. Out: the canonical path, which routes are matched by, and the query as sent.
The upstream gets the original bytes; the canonical path is never sent anywhere.
"""

from __future__ import annotations

import re
import string

from ingressd.errors import LocalReply, Reason

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_HEX = "0123456789abcdefABCDEF"

_ESCAPES = {
    high + low: chr(code) if (code := int(high + low, 16)) < 0x80 and chr(code) in _UNRESERVED else f"%{code:02X}"
    for high in _HEX
    for low in _HEX
    if high + low != "00"
}
"""The two digits of an escape -> what stands in the canonical path. %00 and bad escapes are not in it."""

_SLASHES = re.compile("//+")
_ABSOLUTE = re.compile(r"(https?)://([^/?#@\\]++)(?![@\\])([/?#].*+)?", re.IGNORECASE | re.DOTALL)


def canonicalise(target: str) -> tuple[str, str]:
    """The canonical path and the query (with its `?`, or empty) of an origin-form target.

    Escapes of unreserved characters are decoded, other escapes get upper-case digits (RFC 3986 section 6.2.2),
    slashes are merged and dot segments removed. `%2F` is no separator; backslash and `;` have no meaning.
    The query is not decoded, so its escapes are not checked.

    Raises LocalReply (400): no leading slash, %00 or a bad escape in the path, a control character, space or
    non-ASCII character, a fragment, a path that climbs above the root, or that means two things because its slashes
    can be merged before or after its dot segments are removed.
    """
    path, mark, query = target.partition("?")
    if not target.isascii() or not target.isprintable() or " " in target or "#" in target or path[:1] != "/":
        raise _bad_target()
    if "%" in path:
        path = _unescaped(path)
    if "//" in path:
        merged = _SLASHES.sub("/", path)
        if "/." in path and _SLASHES.sub("/", _without_dot_segments(path)) != _without_dot_segments(merged):
            raise _bad_target()  # whoever does not merge slashes takes `/a//..` for `/a/`, and whoever does, for `/`
        path = merged
    if "/." in path:
        path = _without_dot_segments(path)
    return path, mark + query


def split_absolute(target: str) -> tuple[str, str, str]:
    """Scheme (lower case), authority and origin-form of an absolute-form target (RFC 9112 section 3.2.2).

    The authority is ASCII, not empty, and otherwise unchecked. Raises LocalReply (400): another form, a scheme
    other than http and https, userinfo (RFC 9110 section 4.2.4).
    """
    match = _ABSOLUTE.fullmatch(target) if target.isascii() else None
    if match is None:
        raise _bad_target()
    scheme, authority, rest = match.groups("/")
    return scheme.lower(), authority, rest if rest[0] == "/" else "/" + rest


def _unescaped(path: str) -> str:
    first, *rest = path.split("%")
    parts = [first]
    for part in rest:
        character = _ESCAPES.get(part[:2])
        if character is None:
            raise _bad_target()
        parts.append(character)
        parts.append(part[2:])
    return "".join(parts)


def _without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, but a path that climbs above the root is refused instead of cut."""
    kept: list[str] = []
    segment = ""
    for segment in path.split("/")[1:]:
        if segment == "..":
            if not kept:
                raise _bad_target()
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segment in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _bad_target() -> LocalReply:
    return LocalReply(400, Reason.BAD_REQUEST, "malformed request target", close=True)
