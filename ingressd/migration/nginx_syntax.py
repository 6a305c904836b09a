"""nginx's configuration as directives: words, quotes, braces, semicolons and comments.

In: any text. Out: directives, with those in their braces. What is broken is read as far as it makes sense and named;
nothing raises. What a directive means is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_DEEP = 20
"""Braces within braces; people write three."""
MOST_CHARACTERS = 262_144
"""What Kubernetes lets all annotations of an object have together."""
_CODE = ("_by_lua_block", "_by_lua")
"""A directive whose name ends so has code in its braces."""
_LINE_BREAK = "\n"


@dataclass(frozen=True, slots=True)
class Directive:
    """`NAME WORD...;` or `NAME WORD... { ... }`."""

    words: tuple[str, ...]
    line: int
    block: tuple[Directive, ...] | None = None
    """None = it ended with a semicolon."""
    code: bool = False
    """Its braces had a program in them, which is not read."""

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The others."""
        return self.words[1:]

    def __str__(self) -> str:
        """In one line."""
        head = " ".join(_shown(word) for word in self.words).replace(" )", ")")
        return head if self.block is None else f"{head} {{ ... }}"


class Parsed(NamedTuple):
    """What a text says."""

    directives: tuple[Directive, ...]
    problems: tuple[str, ...]
    """What nginx would refuse, in words."""


@dataclass(slots=True)
class _Open:
    """A block whose brace has not been closed yet."""

    words: tuple[str, ...]
    line: int
    inside: list[Directive] = field(default_factory=list)


class _Token(NamedTuple):
    text: str
    line: int
    kind: str
    """`word`, `;`, `{`, `}` or `open`: a quote that is never closed."""


def parse(text: str) -> Parsed:
    """Read `text`."""
    problems: list[str] = []
    if len(text) > MOST_CHARACTERS:
        problems.append(f"only the first {MOST_CHARACTERS} characters are read")
    reader = _Reader(text[:MOST_CHARACTERS])
    top = _Open((), 1)
    stack = [top]
    words: list[_Token] = []
    for token in reader.tokens():
        if token.kind == "word":
            words.append(token)
        elif token.kind == "open":
            problems.append(f"line {token.line}: a quote that is never closed")
        elif token.kind == ";":
            if words:
                stack[-1].inside.append(Directive(tuple(word.text for word in words), words[0].line))
            words = []
        elif token.kind == "{":
            head = tuple(word.text for word in words)
            line = words[0].line if words else token.line
            words = []
            if not head or len(stack) > MOST_DEEP or head[0].endswith(_CODE):
                reader.skip_block()
                if head:
                    stack[-1].inside.append(Directive(head, line, (), code=True))
                else:
                    problems.append(f"line {line}: a brace without a directive")
            else:
                stack.append(_Open(head, line))
        elif len(stack) == 1:
            problems.append(f"line {token.line}: a closing brace too many")
        else:
            if words:
                problems.append(f"line {words[0].line}: no semicolon at the end")
                stack[-1].inside.append(Directive(tuple(word.text for word in words), words[0].line))
            words = []
            _close(stack)
    if words:
        problems.append(f"line {words[0].line}: no semicolon at the end")
        stack[-1].inside.append(Directive(tuple(word.text for word in words), words[0].line))
    while len(stack) > 1:
        problems.append(f"line {stack[-1].line}: a brace that is never closed")
        _close(stack)
    return Parsed(tuple(top.inside), tuple(problems))


def _close(stack: list[_Open]) -> None:
    block = stack.pop()
    stack[-1].inside.append(Directive(block.words, block.line, tuple(block.inside)))


class _Reader:
    """Where the reading is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def tokens(self) -> Iterator[_Token]:
        """One after the other; `skip_block` may be called in between."""
        while self._at < len(self._text):
            character = self._text[self._at]
            if character.isspace():
                self._step()
            elif character == "#":
                self._skip_line()
            elif character in ";{}":
                line = self._line
                self._step()
                yield _Token(character, line, character)
            else:
                yield self._word()

    def skip_block(self) -> None:
        """Go behind the brace that closes the one that was read last."""
        depth = 1
        while self._at < len(self._text) and depth:
            character = self._text[self._at]
            depth += {"{": 1, "}": -1}.get(character, 0)
            end = self._text.find(character, self._at + 1) if character in "\"'" else -1
            self._step()
            # A text of the program, unless it is an apostrophe in a comment.
            if end >= 0 and _LINE_BREAK not in self._text[self._at : end]:
                self._at = end + 1

    def _word(self) -> _Token:
        line, quote = self._line, self._text[self._at]
        if quote in "\"'":
            self._step()
            return self._quoted(quote, line)
        letters: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            following = self._text[self._at + 1 : self._at + 2]
            if character == "\\" and following:
                letters += [character, following]
                self._step()
            elif character == "$" and following == "{":
                letters += self._variable()
                continue
            elif character.isspace() or character in ";{}":
                break
            else:
                letters.append(character)
            self._step()
        return _Token("".join(letters), line, "word")

    def _variable(self) -> list[str]:
        """`${NAME}`: its braces are no block."""
        end = self._text.find("}", self._at)
        end = len(self._text) - 1 if end < 0 else end
        letters = list(self._text[self._at : end + 1])
        for _ in letters:
            self._step()
        return letters

    def _quoted(self, quote: str, line: int) -> _Token:
        letters: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            following = self._text[self._at + 1 : self._at + 2]
            self._step()
            if character == quote:
                return _Token("".join(letters), line, "word")
            if character == "\\" and following in ("\\", quote):
                letters.append(following)
                self._step()
            else:
                letters.append(character)
        return _Token("".join(letters), line, "open")

    def _skip_line(self) -> None:
        while self._at < len(self._text) and self._text[self._at] != _LINE_BREAK:
            self._step()

    def _step(self) -> None:
        self._line += self._text[self._at] == _LINE_BREAK
        self._at += 1


def _shown(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in escaped)
    plain = word and word.isprintable() and not any(each.isspace() or each in ";{}\"'#" for each in word)
    return word if plain else f'"{text}"'
