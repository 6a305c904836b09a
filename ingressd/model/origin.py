"""Origin: where a document stands, and where in it each value is.

In: the text of one document. Out: line and column of a Loc. Positions are computed when somebody asks: a mistake is
rare, a document without one is never looked at twice. What each route says of itself is the exception: it is marked
while the document is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import yaml

from ingressd.model.shape import Loc

_MARKED: tuple[tuple[str | None, ...], ...] = (
    ("spec", "defaultBackend"),
    ("spec", "rules", None, "http", "paths", None),
)
"""What compile asks the line of, mistake or not; None stands for each item of a list. To find them later, 10,000
Ingresses would be parsed a second time, which was two thirds of compiling them."""


class Position(NamedTuple):
    """Both count from 1."""

    line: int
    column: int


_breaks = re.compile("\r\n|[\n\r\x85\u2028\u2029]").finditer
_odd_break = re.compile("[\x85\u2028\u2029]").search

NO_MARKS: Mapping[Loc, Position] = {}


@dataclass(frozen=True, slots=True)
class Origin:
    """One document of a file."""

    file: str
    line: int
    """The document's first line in the file."""
    text: str = field(repr=False)
    """YAML, or JSON, which is YAML when its tabs are spaces. It may hold secrets."""
    marks: Mapping[Loc, Position] = field(default_factory=lambda: NO_MARKS, repr=False, compare=False)
    """Positions in the document that are known already."""
    _asked: dict[Loc, Position] = field(default_factory=dict, repr=False, compare=False)
    """Those that somebody has asked for: they go with the document."""

    def position(self, loc: Loc = ()) -> Position:
        """Where a value stands; of one that is missing, where it should be. A mapping stands where its key is."""
        found = self.marks.get(loc) or self._asked.get(loc)
        if found is None:
            found = self._asked[loc] = as_editors_count(self.text, _position(self.text, loc))
        return Position(self.line + found.line - 1, found.column)


def marks(root: yaml.Node, text: str) -> dict[Loc, Position]:
    """The marks of a document whose nodes somebody has at hand, for its Origin."""
    found: dict[Loc, Position] = {}
    for loc, node in _objects(root):
        for pattern in _MARKED:
            _mark(node, pattern, loc, found)
    if _line_starts(text) is not None:
        found = {loc: as_editors_count(text, position) for loc, position in found.items()}
    return found


def as_editors_count(text: str, position: Position) -> Position:
    """Of a position that libyaml has named: for it a line also ends at U+0085, U+2028 and U+2029 (YAML 1.1)."""
    starts = _line_starts(text)
    if starts is None or position.line > len(starts):
        return position
    at = starts[position.line - 1] + position.column - 1
    return Position(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


@lru_cache(maxsize=4)
def _line_starts(text: str) -> tuple[int, ...] | None:
    """Where libyaml's lines begin; None when they are those of everybody."""
    if text.isascii() or _odd_break(text) is None:
        return None
    return (0, *(found.end() for found in _breaks(text)))


def _objects(root: yaml.Node) -> Iterator[tuple[Loc, yaml.Node]]:
    """The document's object, or those of a List."""
    _, items = _child(root, "items")
    if isinstance(items, yaml.SequenceNode):
        for index, item in enumerate(items.value):
            yield ("items", index), item
    else:
        yield (), root


def _mark(node: yaml.Node, pattern: tuple[str | None, ...], loc: Loc, found: dict[Loc, Position]) -> None:
    part, rest = pattern[0], pattern[1:]
    if part is None:
        inside: list[tuple[str | int, yaml.Node | None, yaml.Node]] = []
        if isinstance(node, yaml.SequenceNode):
            inside = [(index, None, item) for index, item in enumerate(node.value)]
    else:
        key, child = _child(node, part)
        inside = [] if child is None else [(part, key, child)]
    for name, key, child in inside:
        if rest:
            _mark(child, rest, (*loc, name), found)
        else:
            found[*loc, name] = _start(key, child)


def _position(text: str, loc: Loc) -> Position:
    nodes = _composed(text)
    if nodes is None:
        return Position(1, 1)
    node = nodes.root
    found = _start(None, node)
    for part in loc:
        key, child = nodes.child(node, part)
        if child is None:
            break
        found = _start(key, child)
        node = child
    return found


def _start(key: yaml.Node | None, child: yaml.Node) -> Position:
    # What is written over several lines begins at its key; a plain value is what is to be changed.
    plain = isinstance(child, yaml.ScalarNode) or (isinstance(child, yaml.CollectionNode) and child.flow_style)
    mark = child.start_mark if plain or key is None else key.start_mark
    return Position(mark.line + 1, mark.column + 1)


class _Nodes:
    """A document's nodes, for many questions: one of 1 MiB has room for 100,000 mistakes, each under its own key."""

    def __init__(self, root: yaml.Node) -> None:
        self.root = root
        self._inside: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = {}
        """By the id of a mapping, which lives as long as the root: its keys and values, the first of each name."""

    def child(self, node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
        """See _child."""
        if not isinstance(node, yaml.MappingNode) or not isinstance(part, str):
            return _child(node, part)
        inside = self._inside.get(id(node))
        if inside is None:
            inside = self._inside[id(node)] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    inside.setdefault(key.value, (key, value))
        return inside.get(part, (None, None))


@lru_cache(maxsize=4)
def _composed(text: str) -> _Nodes | None:
    """The document's nodes. A text that is no YAML has none."""
    try:
        root = yaml.compose(text.replace("\t", " "), Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None
    return None if root is None else _Nodes(root)


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The key (None in a list) and the value of `part`."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    return None, None
