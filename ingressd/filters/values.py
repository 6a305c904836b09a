"""Parsers of the usual values of annotations.

In: a value as people wrote it. Out: its meaning, or a ValueError whose text continues `... must be`.
"""

from __future__ import annotations

from collections.abc import Callable


def boolean(text: str) -> bool:
    """As ingress-nginx reads one (Go's strconv.ParseBool). Raises ValueError."""
    if text in {"true", "True", "TRUE", "t", "T", "1"}:
        return True
    if text in {"false", "False", "FALSE", "f", "F", "0"}:
        return False
    raise ValueError('"true" or "false"')


def whole(least: int = 0, most: int = 2**31 - 1) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text[:12]) <= most:
            return int(text)
        raise ValueError(f'a whole number from {least} to {most}, as in "{max(least, 1)}"')

    return parse


def choice(*words: str) -> Callable[[str], str]:
    """A parser of one of some words."""

    def parse(text: str) -> str:
        if text in words:
            return text
        raise ValueError(f"one of {', '.join(words)}")

    return parse


def items(text: str) -> tuple[str, ...]:
    """The parts between commas, without the blanks around them; empty ones are left out."""
    return tuple(item for part in text.split(",") if (item := part.strip()))
