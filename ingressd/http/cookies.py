"""Cookies as requests carry them and as responses set them (RFC 6265).

In: a Cookie field; names, values and attributes as configuration has them. Out: values by name; a Set-Cookie field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import formatdate
from typing import NamedTuple

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A token (RFC 9110 section 5.6.2)."""
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]+")
"""What the value of an attribute may have: no control character, no semicolon."""


class Attributes(NamedTuple):
    """What a response says about a cookie beside its value."""

    path: str = "/"
    domain: str = ""
    same_site: str = ""
    """None, Lax, Strict; empty = not said."""
    secure: bool = False
    max_age_s: int | None = None
    expires_s: int | None = None
    """From now on."""
    partitioned: bool = False


def valid_name(name: str) -> bool:
    """Whether a cookie can have this name."""
    return _NAME.fullmatch(name) is not None


def valid_attribute(value: str) -> bool:
    """Whether an attribute can have this value."""
    return _ATTRIBUTE.fullmatch(value) is not None


def values(field: str | None, name: str) -> Iterator[str]:
    """All values of the cookies called `name`: a client sends one for each path that it was set for."""
    if field is None or name not in field:
        return
    for pair in field.split(";"):
        key, equals, value = pair.partition("=")
        if equals and key.strip() == name:
            yield value.strip().removeprefix('"').removesuffix('"')


def set_cookie(name: str, value: str, attributes: Attributes, now: float) -> str:
    """The Set-Cookie field. It is HttpOnly: no script has to see it. `now`: epoch seconds."""
    parts = [f"{name}={value}", f"Path={attributes.path}"]
    if attributes.domain:
        parts.append(f"Domain={attributes.domain}")
    if attributes.expires_s is not None:
        parts.append(f"Expires={formatdate(now + attributes.expires_s, usegmt=True)}")
    if attributes.max_age_s is not None:
        parts.append(f"Max-Age={attributes.max_age_s}")
    if attributes.secure:
        parts.append("Secure")
    parts.append("HttpOnly")
    if attributes.same_site:
        parts.append(f"SameSite={attributes.same_site}")
    if attributes.partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)
