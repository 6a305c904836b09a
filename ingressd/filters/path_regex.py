"""Paths of rules as regular expressions: nginx's `location ~* "^<path>"`, as Python reads it.

In: the path of a rule as it is written, for PCRE. Out: patterns for path texts (http/path_text.py), checked for what
they may cost. What Python reads in another way than PCRE is translated, or refused with the way out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ingressd.filters.regex_safety import MOST_CHARACTERS, refusal
from ingressd.http.path_text import FLAGS

_tokens = re.compile(
    r"""
      \\.                                             # an escape
    | \[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]      # a set
    | \(\?<(?=[A-Za-z_])                              # a named group
    | \(\?i\)
    | \{,
    | [()|]
    """,
    re.VERBOSE | re.DOTALL,
)
_posix = re.compile(r"\[:\^?[a-z]+:\]")
_literal = re.compile(r"(?:[^\\^$.|?*+()\[\]{}]|\\[^A-Za-z0-9])*+")


class PathRegex(NamedTuple):
    """The two questions that a path is an answer to."""

    location: str
    """For `match`: whether a path is taken."""
    rewrite: str
    """For `search`: what `$1` to `$9` are."""


@lru_cache(maxsize=65_536)
def path_regex(path: str) -> PathRegex:
    """The patterns of a path. Raises ValueError, whose text continues `it`."""
    if len(path) > MOST_CHARACTERS:
        raise ValueError(refusal(path))
    branches = _branches(path)
    location = rewrite = "|".join(branches)
    if len(branches) > 1:
        # In `^/a|/b` the anchor belongs to `/a` alone.
        location = f"(?:{branches[0]}|.*?(?:{'|'.join(branches[1:])}))"
        # What `$1` is, is looked for from every place on.
        if why := refusal(f".*?(?:{rewrite})", FLAGS):
            raise ValueError(why)
    if why := refusal(location, FLAGS):
        raise ValueError(why)
    return PathRegex(location, rewrite)


def literal_text(path: str) -> str:
    """What a path begins with before the first sign that means something in an expression."""
    match = _literal.match(path)
    literal = "" if match is None else match[0]
    # What repeats is the last character.
    if path[len(literal) : len(literal) + 1] in ("?", "*", "+", "{") and literal:
        literal = literal[:-2] if literal[-2:-1] == "\\" else literal[:-1]
    return re.sub(r"\\(.)", r"\1", literal)


def _branches(path: str) -> list[str]:
    """What stands between the bars that no group holds, translated."""
    branches: list[str] = []
    current: list[str] = []
    depth = end = 0
    for token in _tokens.finditer(path):
        current.append(path[end : token.start()])
        end = token.end()
        text = token[0]
        if text == "|" and not depth:
            branches.append("".join(current))
            current = []
            continue
        if text[0] == "(" and text != "(?i)":
            depth += 1
        elif text == ")":
            depth -= 1
        current.append(_translated(text))
    current.append(path[end:])
    return [*branches, "".join(current)]


def _translated(sign: str) -> str:
    if sign == "(?i)":
        return ""  # it holds anyway, and Python wants it at the very beginning
    if sign == "\\z":
        return r"\Z"
    if sign == "(?<":
        return "(?P<"
    if sign == "{,":
        raise ValueError("has `{,`: write `{0,`")
    if sign[0] == "[" and _posix.search(sign):
        raise ValueError("has a set like `[[:alpha:]]`: write `[A-Za-z]`")
    return sign
