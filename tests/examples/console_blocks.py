"""The commands in the documents: ```console blocks with `$ ` lines, each followed by fragments of its output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\S*)\s*$")

NOT_COMMANDS = frozenset({"", "text", "yaml", "json", "python", "toml", "ini", "http"})
"""Languages of blocks that nobody types into a shell."""


@dataclass(frozen=True)
class Command:
    """One command and what its output must contain, in this order."""

    document: str
    line: int
    text: str
    fragments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Block:
    """The commands of one fenced block: they run one after the other and leave everything as it was."""

    document: str
    line: int
    commands: tuple[Command, ...]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(root: Path, path: Path) -> Iterator[Block]:
    """The console blocks of one document. Raises ValueError for a block of a language that hides commands."""
    document = str(path.relative_to(root))
    language: str | None = None
    start = 0
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            if language is not None:
                lines.append((number, line))
        elif language is None:
            language, start, lines = fence[1], number, []
            if language != "console" and language not in NOT_COMMANDS:
                raise ValueError(f"{document}:{number}: write commands in a console block, not {language}")
        else:
            if language == "console":
                yield Block(document, start, tuple(_commands(document, lines)))
            language = None


def _commands(document: str, lines: list[tuple[int, str]]) -> Iterator[Command]:
    first, text, fragments = 0, "", []
    for number, line in lines:
        if text.endswith("\\"):
            text = f"{text[:-1].rstrip()} {line.strip()}"
        elif line.startswith("$ "):
            if text:
                yield Command(document, first, text, tuple(fragments))
            first, text, fragments = number, line[2:], []
        elif not text:
            raise ValueError(f"{document}:{number}: a console block begins with `$ `")
        elif line.strip() not in ("", "..."):
            fragments.append(line.strip())
    if text:
        yield Command(document, first, text, tuple(fragments))
