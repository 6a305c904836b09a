"""EditedLines: field lines that can be changed one name at a time, as filters do it.

In: `Name: value` lines with their CRLF, of a request or a response. Out: the same after the changes. What it was given
stays as it is: heads that are alike share their lines.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingressd.http.fields import line_value, valid_name, valid_value


class EditedLines:
    """A list of lines, changed in place; names are compared without case."""

    __slots__ = ("lines",)

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.lines = list(lines)

    def values(self, name: str) -> list[str]:
        """The values of all fields called `name`."""
        prefix = _prefix(name)
        return [line_value(line).decode("latin-1") for line in self.lines if line[: len(prefix)].lower() == prefix]

    def set(self, name: str, value: str) -> None:
        """One field with this value, where the first one stood. Raises ValueError."""
        line, prefix = _line(name, value), _prefix(name)
        lines: list[bytes] = []
        placed = False
        for each in self.lines:
            if each[: len(prefix)].lower() != prefix:
                lines.append(each)
            elif not placed:
                lines.append(line)
                placed = True
        if not placed:
            lines.append(line)
        self.lines = lines

    def add(self, name: str, value: str) -> None:
        """One field more. Raises ValueError."""
        self.lines.append(_line(name, value))

    def remove(self, name: str) -> None:
        """No field with the name."""
        prefix = _prefix(name)
        self.lines = [line for line in self.lines if line[: len(prefix)].lower() != prefix]

    def pairs(self) -> list[tuple[str, str]]:
        """Names and values, in order."""
        return [(line[: line.index(b":")].decode("ascii"), line_value(line).decode("latin-1")) for line in self.lines]


def _prefix(name: str) -> bytes:
    return name.lower().encode("ascii", "replace") + b":"


def _line(name: str, value: str) -> bytes:
    """Raises ValueError for what would not be one field."""
    name_bytes = name.encode("ascii", "replace")
    try:
        value_bytes = value.encode("latin-1")
    except UnicodeEncodeError:
        value_bytes = value.encode("utf-8")
    if not valid_name(name_bytes):
        raise ValueError(f"{name!r} is no name of a field")
    if not valid_value(value_bytes):
        raise ValueError(f"the value of {name} would break its line")
    return b"%b: %b\r\n" % (name_bytes, value_bytes)
