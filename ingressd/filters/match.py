"""match-headers, match-query, match-methods: an Ingress that takes only some requests of its hosts and paths.

In: annotations. Out: what they mean, for compile/: which requests go where is decided with the route, before any
filter runs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ingressd.filters.base import Annotation, FilterSpec
from ingressd.filters.regex_safety import refusal
from ingressd.filters.values import items
from ingressd.http.field_rules import valid_name

_METHOD = re.compile(r"[A-Z][A-Z-]*")


class Wanted(NamedTuple):
    """A header or a parameter of the query."""

    name: str
    value: str | None
    """None = any."""
    pattern: re.Pattern[str] | None


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression that cannot keep a worker busy."""
    why = refusal(text, re.ASCII) if text else "has no character"
    if why:
        raise ValueError(f'a regular expression, as in "^(beta|next)$": it {why}')
    return re.compile(text, re.ASCII)


def header_name(text: str) -> str:
    """The name of a header, in lower case."""
    name = text.strip().lower()
    if not name.isascii() or not valid_name(name.encode("ascii")):
        raise ValueError('the name of a header, as in "X-Canary"')
    return name


def headers(text: str) -> tuple[Wanted, ...]:
    """`NAME=VALUE, NAME=~REGEX, NAME`."""
    return tuple(each._replace(name=header_name(each.name)) for each in _wanted(text))


def parameters(text: str) -> tuple[Wanted, ...]:
    """`NAME=VALUE, NAME=~REGEX, NAME`."""
    return _wanted(text)


def methods(text: str) -> tuple[str, ...]:
    """`GET, HEAD`."""
    names = items(text)
    if not names or not all(_METHOD.fullmatch(name) for name in names):
        raise ValueError('methods in upper case, as in "GET, HEAD"')
    return tuple(dict.fromkeys(names))


def _wanted(text: str) -> tuple[Wanted, ...]:
    wanted = []
    for item in items(text):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not name:
            break
        if value.startswith("~"):
            wanted.append(Wanted(name, None, pattern(value[1:])))
        else:
            wanted.append(Wanted(name, value if equals else None, None))
    if not wanted or len(wanted) != len(items(text)):
        raise ValueError('NAME=VALUE, NAME=~REGEX or NAME, several with commas, as in "X-Env=beta, X-Debug"')
    return tuple(wanted)


class _Spec(FilterSpec):
    name = "match"
    annotations = (
        Annotation(
            "match-headers",
            headers,
            "take only requests with these headers: NAME=VALUE, NAME=~REGEX, or NAME with any value",
            native=True,
            selects=True,
        ),
        Annotation(
            "match-query",
            parameters,
            "take only requests with these parameters of the query: NAME=VALUE, NAME=~REGEX, or NAME with any value",
            native=True,
            selects=True,
        ),
        Annotation("match-methods", methods, "take only requests with one of these methods", native=True, selects=True),
    )


SPEC = _Spec()
