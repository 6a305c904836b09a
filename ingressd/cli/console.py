"""What the commands print: rich for people, plain text for pipes, one line on standard error when something is wrong.

In: text, tables, exceptions. Out: bytes on the two streams. Colour only on a terminal, and never with NO_COLOR.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

USAGE = 2
"""Exit code: the command was told something wrong, or could not do its work."""
FOUND = 1
"""Exit code: the command did its work and found errors or differences."""

_PLAIN_WIDTH = 10_000
"""Columns of a pipe: nothing is wrapped or cut there."""


def console() -> Console:
    """A console on standard output. A pipe gets plain text in lines as long as they need to be."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(
        highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH, color_system=None, force_terminal=False
    )


def print_json(value: Any) -> None:
    """Data for programs: the same on a terminal and in a pipe."""
    print(json.dumps(value, indent=2, default=str))


def complain(message: str) -> None:
    """One line on standard error."""
    print(f"ingressd: {message}", file=sys.stderr)


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Say why on standard error and end with `code`."""
    complain(message)
    raise typer.Exit(code)


def silence_stdout() -> None:
    """The reader of the pipe has gone (`| head`): keep the interpreter from complaining when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
