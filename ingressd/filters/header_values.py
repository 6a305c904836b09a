"""What annotations say about header fields: names, and values with nginx's variables in them.

In: text such as `X-One: a; X-Two: $host` or lines of it. Out: pairs of a name and a Template.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingressd.filters.variables import Template
from ingressd.http.edited_lines import FixedFields
from ingressd.http.field_rules import HOP_BY_HOP, valid_name, valid_value

FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "host", "upgrade"})
"""What the proxy writes itself: where a message ends, and for whom it is."""

Header = tuple[str, Template]


def field_name(text: str) -> str:
    """The name of a field that may be set. Raises ValueError."""
    name = text.strip()
    if not valid_name(name.encode("ascii", "replace")):
        raise ValueError(f"names of fields: {name!r} is none")
    if name.lower() in FRAMING or name.lower().encode() in HOP_BY_HOP:
        raise ValueError(f"names of fields that are not the proxy's own: {name} is")
    return name


def field_value(text: str) -> Template:
    """A value. Raises ValueError."""
    value = text.strip()
    if not valid_value(value.encode("utf-8")):
        raise ValueError("values of fields, without line breaks and control characters")
    return Template.parse(value)


def headers(text: str) -> tuple[Header, ...]:
    """`NAME: VALUE`, one a line or with `;` at the end of each. Raises ValueError."""
    pairs = []
    for line in text.splitlines() if "\n" in text else text.split(";"):
        item = line.strip().removesuffix(";").strip()
        if not item:
            continue
        name, colon, value = item.partition(":")
        if not colon:
            raise ValueError('"NAME: VALUE", one a line or with `;` between them')
        pairs.append((field_name(name), field_value(value)))
    if not pairs:
        raise ValueError('"NAME: VALUE", one a line or with `;` between them')
    return tuple(pairs)


def fixed_fields(pairs: Sequence[Header], *, unique: bool = False) -> FixedFields | None:
    """The fields, if none has a variable; None: some differ from request to request.

    `unique`: of those with the same name only one is meant, where the first one stands and with the last one's value.
    """
    if not all(value.fixed for _, value in pairs):
        return None
    fixed = [(name, "".join(map(str, value.parts))) for name, value in pairs]
    return FixedFields.of({name.lower(): (name, value) for name, value in fixed}.values() if unique else fixed)


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them. Raises ValueError."""
    found = tuple(field_name(item) for item in text.split(",") if item.strip())
    if not found:
        raise ValueError("names of fields with commas between them")
    return found
