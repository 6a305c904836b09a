"""A settings file: YAML or JSON, the names of the flags in snake_case, `limits` a mapping.

In: a path. Out: each value as text (or a list of texts) with its place in the file, so that a mistake can be shown
there. What a value means is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from ingressd.errors import StartupError

_UNSET = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Entry:
    """One value. `place` is FILE:LINE:COLUMN of its key."""

    key: str
    value: str | list[str]
    place: str


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file says, in the order it says it; a key without a value is left out."""

    settings: tuple[Entry, ...]
    limits: tuple[Entry, ...]


def read_settings_file(path: str) -> SettingsFile:
    """Raises StartupError when the file cannot be read or is not a mapping of plain values."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StartupError(f"cannot read the settings file {path}: {reason}") from None
    try:
        # BaseLoader leaves every scalar text: `off` and `8080` mean here what they mean in a variable.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        raise StartupError(f"{place}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if root is None:
        return SettingsFile((), ())
    settings, limits = [], []
    for key, node, place in _pairs(root, path):
        if key == "limits" and isinstance(node, yaml.MappingNode):
            limits += [entry for each in _pairs(node, path) if (entry := _entry(*each, path))]
        elif entry := _entry(key, node, place, path):
            settings.append(entry)
    return SettingsFile(tuple(settings), tuple(limits))


def _pairs(root: yaml.Node, path: str) -> Iterator[tuple[str, yaml.Node, str]]:
    if not isinstance(root, yaml.MappingNode):
        raise StartupError(f"{_place(root, path)}: expected a mapping of settings, such as `http_port: 8080`")
    seen = set()
    for key, node in root.value:
        place = _place(key, path)
        if not isinstance(key, yaml.ScalarNode):
            raise StartupError(f"{place}: the name of a setting is one word")
        if key.value in seen:
            raise StartupError(f"{place}: {key.value} is set twice")
        seen.add(key.value)
        yield key.value, node, place


def _entry(key: str, node: yaml.Node, place: str, path: str) -> Entry | None:
    if isinstance(node, yaml.ScalarNode):
        unset = node.style is None and node.value in _UNSET
        return None if unset else Entry(key, node.value, place)
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return Entry(key, [item.value for item in node.value], place)
    raise StartupError(f"{_place(node, path)}: the value of {key} is one word or a list of words")


def _place(node: yaml.Node, path: str) -> str:
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
