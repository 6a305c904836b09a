"""Paths as text: what regular expressions are matched by, and how their captures become part of a target again.

In: canonical paths (target.py). Out: text with as few escapes as possible, and back. nginx matches the decoded path, so
rules for it are written that way. What would change the meaning stays escaped: `%2F` is no separator here, `%25` begins
no escape, and a control character never appears, so that none can get into a target or a field.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

FLAGS = re.IGNORECASE | re.ASCII
"""As nginx's `~*`: PCRE without UTF compares letters beyond ASCII byte by byte."""

_KEPT = "/%"
_PATH_SAFE = "/!$&'()*+,;=:@-._~%"
_ARGUMENT_SAFE = "/!$'()*,;=:@-._~%"
"""Without what separates the parameters of a query, and without plus, which means a space there."""
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

_only_path_safe = re.compile(f"[A-Za-z0-9{re.escape(_PATH_SAFE)}]*+").fullmatch
_only_argument_safe = re.compile(f"[A-Za-z0-9{re.escape(_ARGUMENT_SAFE)}]*+").fullmatch
_escapes = re.compile("(?:%[0-9A-F]{2})++")


def path_text(path: str) -> str:
    """The canonical path with its escapes decoded, but those that are kept; bytes that are no UTF-8 stay escaped."""
    return _escapes.sub(_decoded, path) if "%" in path else path


def encoded_path(text: str) -> str:
    """A part of a path text as it stands in a target."""
    return text if _only_path_safe(text) else quote(text, safe=_PATH_SAFE)


def encoded_argument(text: str) -> str:
    """A part of a path text as it stands in the query of a target."""
    return text if _only_argument_safe(text) else quote(text, safe=_ARGUMENT_SAFE)


def encoded_location(text: str) -> str:
    """A location as it stands in a field: whatever is no visible ASCII character is escaped."""
    return text if text.isascii() and text.isprintable() and " " not in text else quote(text, safe=_PRINTABLE)


@lru_cache(maxsize=65_536)
def expression(pattern: str) -> re.Pattern[str]:
    """The expression for path texts. Routes carry the pattern: tables of 20,000 routes are not compiled at once."""
    return re.compile(pattern, FLAGS)


def _decoded(match: re.Match[str]) -> str:
    text = bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogateescape")
    return "".join(
        each if each.isprintable() and each not in _KEPT else quote(each, safe="", errors="surrogateescape")
        for each in text
    )
