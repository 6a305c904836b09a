"""Origin: where a document stands, and where in it each value is.

In: the text of one document. Out: line and column of a Loc. Positions are computed when somebody asks: a mistake is
rare, a document without one is never looked at twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import yaml

from ingressd.model.shape import Loc


class Position(NamedTuple):
    """Both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Origin:
    """One document of a file."""

    file: str
    line: int
    """The document's first line in the file."""
    text: str = field(repr=False)
    """YAML, or JSON, which is YAML when its tabs are spaces. It may hold secrets."""

    def position(self, loc: Loc = ()) -> Position:
        """Where a value stands; of one that is missing, where it should be. A mapping stands where its key is."""
        found = _position(self.text, loc)
        return Position(self.line + found.line - 1, found.column)


@lru_cache(maxsize=8192)
def _position(text: str, loc: Loc) -> Position:
    node = _composed(text)
    if node is None:
        return Position(1, 1)
    mark = node.start_mark
    for part in loc:
        key, child = _child(node, part)
        if child is None:
            break
        # What is written over several lines begins at its key; a plain value is what is to be changed.
        plain = isinstance(child, yaml.ScalarNode) or (isinstance(child, yaml.CollectionNode) and child.flow_style)
        mark = child.start_mark if plain or key is None else key.start_mark
        node = child
    return Position(mark.line + 1, mark.column + 1)


@lru_cache(maxsize=4)
def _composed(text: str) -> yaml.Node | None:
    """The document's nodes. A text that is no YAML has none."""
    try:
        return yaml.compose(text.replace("\t", " "), Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The key (None in a list) and the value of `part`."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    return None, None
