"""Partly: a value of an annotation that is understood in part.

In: what a parser found out. Out: an exception that says what the rest must be, and what holds until it is. Without it a
list with one mistake in it would be its default, which may be wider than what was meant.
"""

from __future__ import annotations

from typing import Any


class Partly(ValueError):
    """The text continues `... must be`, as that of other parsers."""

    def __init__(self, text: str, value: Any, meanwhile: str) -> None:
        super().__init__(text)
        self.value = value
        """What the part means that is understood."""
        self.meanwhile = meanwhile
        """Continues `until then`."""
