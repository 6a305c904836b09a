"""EditedLines: field lines that can be changed one name at a time, as filters do it.

In: `Name: value` lines with their CRLF, of a request or a response. Out: the same after the changes. What it was given
stays as it is: heads that are alike share their lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

from ingressd.http.field_rules import line_name, line_value, valid_name, valid_value

_NAMES = 1024
"""Names that filters use, whose spelling is kept."""


@dataclass(frozen=True, slots=True)
class FixedFields:
    """Fields that are the same for every message: checked and encoded once."""

    names: tuple[str, ...] = ()
    """Lower case, one for each line."""
    lines: tuple[bytes, ...] = ()
    taken: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    """The names as a set."""
    together: bytes = field(init=False, repr=False, compare=False, default=b"")
    """The lines, ready to send."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "taken", frozenset(self.names))
        object.__setattr__(self, "together", b"".join(self.lines))

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Names and values, in order. Raises ValueError."""
        made = [(name.lower(), _line(name, value)) for name, value in pairs]
        return cls(tuple(name for name, _ in made), tuple(line for _, line in made))


class EditedLines:
    """A list of lines, changed in place; names are compared without case."""

    __slots__ = ("lines", "names")

    def __init__(self, lines: Iterable[bytes], names: Iterable[str] | None = None) -> None:
        """`names`: those of the lines, in lower case, where they are known."""
        self.lines = list(lines)
        self.names = [line_name(line) for line in self.lines] if names is None else list(names)

    def values(self, name: str) -> list[str]:
        """The values of all fields called `name`."""
        name = name.lower()
        if name not in self.names:
            return []
        return [
            line_value(line).decode("latin-1")
            for line, each in zip(self.lines, self.names, strict=True)
            if each == name
        ]

    def set(self, name: str, value: str) -> None:
        """One field with this value, where the first one stood. Raises ValueError."""
        self._place(name.lower(), _line(name, value))

    def add(self, name: str, value: str) -> None:
        """One field more. Raises ValueError."""
        self.lines.append(_line(name, value))
        self.names.append(name.lower())

    def remove(self, name: str) -> None:
        """No field with the name."""
        name = name.lower()
        if name in self.names:
            self._keep_others(frozenset((name,)))

    def set_fixed(self, fixed: FixedFields) -> None:
        """As `set` for each of them; their names differ."""
        if fixed.taken.isdisjoint(self.names):
            self.add_fixed(fixed)
            return
        for name, line in zip(fixed.names, fixed.lines, strict=True):
            self._place(name, line)

    def add_fixed(self, fixed: FixedFields) -> None:
        """As `add` for each of them."""
        self.lines += fixed.lines
        self.names += fixed.names

    def remove_all(self, names: Set[str]) -> None:
        """No field with one of the names, which are in lower case."""
        if not names.isdisjoint(self.names):
            self._keep_others(names)

    def pairs(self) -> list[tuple[str, str]]:
        """Names and values, in order."""
        return [(line[: line.index(b":")].decode("ascii"), line_value(line).decode("latin-1")) for line in self.lines]

    def _place(self, name: str, line: bytes) -> None:
        names = self.names
        if name not in names:
            self.lines.append(line)
            names.append(name)
            return
        first = names.index(name)
        self.lines[first] = line
        for number in range(len(names) - 1, first, -1):
            if names[number] == name:
                del names[number], self.lines[number]

    def _keep_others(self, names: Set[str]) -> None:
        kept = [number for number, each in enumerate(self.names) if each not in names]
        self.lines = [self.lines[number] for number in kept]
        self.names = [self.names[number] for number in kept]


def _line(name: str, value: str) -> bytes:
    """Raises ValueError for what would not be one field."""
    start = _start(name)
    try:
        value_bytes = value.encode("latin-1")
    except UnicodeEncodeError:
        value_bytes = value.encode("utf-8")
    if not valid_value(value_bytes):
        raise ValueError(f"the value of {name} would break its line")
    return b"%b%b\r\n" % (start, value_bytes)


@lru_cache(maxsize=_NAMES)
def _start(name: str) -> bytes:
    """A line up to its value. Raises ValueError."""
    name_bytes = name.encode("ascii", "replace")
    if not valid_name(name_bytes):
        raise ValueError(f"{name!r} is no name of a field")
    return name_bytes + b": "
