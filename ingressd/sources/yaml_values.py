"""YAML as Kubernetes means it: the syntax of YAML, the types of JSON.

In: the text of one document. Out: None, bool, int, float, str, list and dict with string keys, or a Refused with its
place. Nothing else is ever constructed. Whether the value is a Kubernetes object is not known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml

from ingressd.model.origin import Position, as_editors_count

DEPTH = 64
"""Kubernetes objects are about 15 deep."""
ALIASES = 100
VALUES = 250_000
"""Of one document, aliases followed: what a document of 1 MiB holds when it is dense. Three aliases that name each
other can stand for millions ("billion laughs")."""

TWICE = "yaml_duplicate_key"
"""Code of a key that is written twice."""

_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_number = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?").fullmatch
_NUMBER_STARTS = frozenset("-0123456789")
INTEGER_DIGITS = 4000
"""Python refuses to read more than 4,300."""

_TAGGED: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
_CORE = "tag:yaml.org,2002:"
_MERGE = "<<"
_TAB = "\t"


class Refused(Exception):
    """The document cannot be read. Lines and columns count from 1, in the document."""

    def __init__(self, code: str, message: str, hint: str, line: int, column: int, earlier: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.line = line
        self.column = column
        self.earlier = earlier
        """The line of what it collides with; 0 = it is no collision."""


def read_yaml(text: str, look: Callable[[yaml.Node], None] | None = None) -> Any:
    """The value of the only document in `text`; None when there is none. Raises Refused.

    `look` is shown the document's nodes, when there is a value.
    """
    try:
        return _read(text, look)
    except yaml.reader.ReaderError as error:
        raise _character(error, text) from None
    except Refused as refused:
        refused.line, refused.column = as_editors_count(text, Position(refused.line, refused.column))
        if refused.earlier:
            refused.earlier = as_editors_count(text, Position(refused.earlier, 1)).line
        raise


def _read(text: str, look: Callable[[yaml.Node], None] | None) -> Any:
    aliases = "&" in text and "*" in text
    try:
        if aliases:
            _count_aliases(text)
        parser = _Parser(text)
        node = parser.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text) from None
    if node is None:
        return None
    value = (_Expansion() if aliases else _Construction()).value(node, 0)
    if look is not None:
        look(node)
    return value


def number(text: str) -> int | float | None:
    """What JSON makes of it; None = it is no number, or none that can be held."""
    match = _number(text)
    if match is None:
        return None
    if match[1] is None and match[2] is None:
        return int(text) if len(text) <= INTEGER_DIGITS else None
    found = float(text)
    return found if math.isfinite(found) else None


class _Parser(yaml.CSafeLoader):
    """Composes nodes without resolving them. Counts on the way down, before memory and stack are spent."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        """Called by the loader before each node."""
        self._depth += 1
        self._values += 1
        # One more than DEPTH: the scalars in the innermost list.
        if self._depth > DEPTH + 1:
            assert parent is not None
            _refuse_depth(parent)
        if self._values > VALUES:
            assert parent is not None
            _refuse_size(parent)

    def ascend_resolver(self) -> None:
        """Called by the loader after each node."""
        self._depth -= 1

    def resolve(self, kind: object, value: object, implicit: object) -> None:
        """Called by the loader for a node without a tag: it gets its type when it is constructed."""


class _Construction:
    """Nodes become values."""

    def value(self, node: yaml.Node, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            text: str = node.value
            if node.tag is not None:
                return _tagged(node)
            if node.style != "" or (text not in _CONSTANTS and text[0] not in _NUMBER_STARTS):
                return text
            return _plain(text)
        if isinstance(node, yaml.MappingNode):
            if node.tag is not None and node.tag != _CORE + "map":
                _refuse_tag(node)
            return self._mapping(node, depth)
        if node.tag is not None and node.tag != _CORE + "seq":
            _refuse_tag(node)
        return [self.value(item, depth + 1) for item in node.value]

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        """An entry whose value is null is left out, as Kubernetes does; it hides a merged one all the same."""
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key, child in node.value:
            merge = False
            if not isinstance(key, yaml.ScalarNode):
                _refuse_key(key)
            name: str = key.value
            if key.style == "" or key.tag is not None:
                if name == _MERGE and key.tag is None:
                    merge = True
                elif key.tag is not None:
                    if not isinstance(_tagged(key), str):
                        _refuse_key(key)
                elif (name in _CONSTANTS or name[0] in _NUMBER_STARTS) and not isinstance(_plain(name), str):
                    _refuse_key(key)
            if name in lines:
                _refuse_twice(key, lines[name])
            lines[name] = key.start_mark.line
            if merge:
                merged.append(child)
                continue
            value = self.value(child, depth + 1)
            if value is not None:
                found[name] = value
        for child in merged:
            found |= {name: value for name, value in self._merged(child, depth + 1).items() if name not in lines}
        return found

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        """What `<<` brings in: of several mappings, the first one that has a key wins."""
        values = self.value(node, depth)
        mappings = values if isinstance(values, list) else [values]
        found: dict[str, Any] = {}
        for each in mappings:
            if not isinstance(each, dict):
                _refuse(node, "yaml_merge", "<< takes a mapping, or a list of mappings", "write `<<: *NAME`")
            found = {**each, **found}
        return found


class _Expansion(_Construction):
    """Nodes with aliases, which the parser's bounds do not hold for: a node may occur often, and in itself."""

    def __init__(self) -> None:
        self._values = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node, depth: int) -> Any:
        self._values += 1
        if self._values > VALUES:
            _refuse_size(node)
        if isinstance(node, yaml.ScalarNode):
            return super().value(node, depth)
        if id(node) in self._open:
            _refuse(node, "yaml_alias_cycle", "an alias stands inside what it names", "write the value out")
        if depth >= DEPTH:
            _refuse_depth(node)
        self._open.add(id(node))
        found = super().value(node, depth)
        self._open.remove(id(node))
        return found


def _plain(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in _NUMBER_STARTS:
        found = number(text)
        if found is not None:
            return found
    return text


def _tagged(node: yaml.ScalarNode) -> Any:
    """A scalar whose type is written out: `!!str 80`."""
    kind, text = node.tag.removeprefix(_CORE), node.value
    if kind == "str":
        return text
    expected = _TAGGED.get(kind)
    if expected is None or not node.tag.startswith(_CORE):
        _refuse_tag(node)
    value = _plain(text)
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "bool"):
        _refuse(node, "yaml_tag", f"what follows !!{kind} is not of that type", "correct the value, or remove the tag")
    return value


def _count_aliases(text: str) -> None:
    parser = yaml.CSafeLoader(text)
    count = 0
    while (event := parser.get_event()) is not None:
        count += isinstance(event, yaml.AliasEvent)
        if count > ALIASES:
            line, column = _place(event.start_mark)
            message = f"more than {ALIASES} aliases in one document"
            raise Refused(
                "yaml_alias_limit", message, "write values out, or split the document with `---`", line, column
            )


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _refuse(node: yaml.Node, code: str, message: str, hint: str) -> NoReturn:
    raise Refused(code, message, hint, *_place(node.start_mark))


def _refuse_depth(node: yaml.Node) -> NoReturn:
    _refuse(node, "yaml_depth", f"nested more than {DEPTH} deep", "no Kubernetes object is: look for a missing bracket")


def _refuse_size(node: yaml.Node) -> NoReturn:
    _refuse(
        node,
        "document_too_large",
        f"more than {VALUES:,} values in one document, aliases followed",
        "split the document with `---`, and write aliases out",
    )


def _refuse_tag(node: yaml.Node) -> NoReturn:
    tag = node.tag.replace(_CORE, "!!")
    _refuse(node, "yaml_tag", f"the tag {tag[:40]} has no meaning in a manifest", "remove it")


def _refuse_key(key: yaml.Node) -> NoReturn:
    if isinstance(key, yaml.ScalarNode):
        shown = key.value[:40]
        _refuse(key, "yaml_key", f"the key `{shown}` is not a string", f'write it in quotes: "{shown}":')
    _refuse(
        key,
        "yaml_key",
        "a key is not a string, but a mapping or a list",
        "write a value that begins with `{` in quotes; templates must be rendered first",
    )


def _refuse_twice(key: yaml.ScalarNode, earlier: int) -> NoReturn:
    message = f"the key `{key.value[:100]}` is written twice"
    raise Refused(TWICE, message, "remove one of them", *_place(key.start_mark), earlier + 1)


_HINTS = (
    ("tab character", "indent with spaces: YAML allows no tabs there"),
    ("mapping values are not allowed", "indent like the lines around it, and put a value with `: ` in quotes"),
    ("could not find expected ':'", "a key needs `: ` after it; look at the line above, too"),
    ("did not find expected key", "indent like the lines around it; look for an open quote or bracket above"),
    ("did not find expected '-'", "the items of a list begin with `- `, all in the same column"),
    ("did not find expected ','", "a `[` or `{` is not closed"),
    ("unexpected end of stream", "a quote is not closed"),
    ("undefined alias", "a value that begins with `*` must be in quotes"),
    ("alphabetic or numeric", "a value that begins with `*` or `&` must be in quotes"),
    ("duplicate anchor", "give the second anchor another name"),
    ("unknown escape", "write `\\\\` for a backslash, or use single quotes"),
)
"""What libyaml says -> what to do."""


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Refused:
    problem = error.problem or error.context or ""
    mark = error.problem_mark or error.context_mark
    if error.context_mark is not None and mark is not None:
        line, _ = as_editors_count(text, Position(*_place(mark)))
        if line > text.rstrip("\n").count("\n") + 1:
            mark = error.context_mark  # libyaml noticed it behind the last line, where no editor can go
    line, column = _place(mark) if mark is not None else (1, 1)
    hint = next((hint for part, hint in _HINTS if part in f"{problem} {error.context}"), "")
    if "cannot start any token" in problem and mark is not None:
        character = text[mark.index : mark.index + 1]
        problem = f"{problem}: {'a tab' if character == _TAB else f'`{character}`'}"
        hint = _HINTS[0][1] if character == _TAB else f"put a value that begins with `{character}` in quotes"
    if error.context and problem != error.context:
        problem = f"{error.context}: {problem}"
    return Refused("yaml_syntax", f"this is not YAML: {problem}", hint, line, column)


def _character(error: yaml.reader.ReaderError, text: str) -> Refused:
    before = text.encode()[: error.position].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    hint = 'remove it, or write it as an escape in double quotes, such as "\\x07"'
    return Refused("yaml_character", "a control character is not allowed here", hint, line, column)
