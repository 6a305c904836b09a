"""`ingressd check DIR...`: every fault of the manifests.

In: folders. Out: the faults for people, for programs or for GitHub, and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingressd.cli.console import FOUND, console, print_json
from ingressd.cli.offline import OFFLINE_FLAGS, compile_paths
from ingressd.cli.setting_flags import takes_settings
from ingressd.errors import Fault, Severity

if TYPE_CHECKING:
    from rich.text import Text


class CheckOutput(StrEnum):
    """What is printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@takes_settings(OFFLINE_FLAGS)
def check(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="DIR...", help="Folders or files with manifests.", show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 on warnings, too.")] = False,
    output: Annotated[
        CheckOutput, typer.Option("--output", "-o", help="For people, programs, or annotations on GitHub.")
    ] = CheckOutput.TEXT,
    **given: Any,
) -> None:
    """Show every mistake in DIR..., with its place and the way out.

    Exit code 0: no errors. 1: there are errors (with --strict, errors or warnings). 2: the command could not do its
    work. docs/faults.md explains each code.
    """
    faults = compile_paths(paths, given, "check").faults
    if output is CheckOutput.JSON:
        print_json([fault.as_dict() for fault in faults])
    elif output is CheckOutput.GITHUB:
        for fault in faults:
            print(workflow_command(fault))
    else:
        screen = console()
        for fault in faults:
            screen.print(_line(fault), soft_wrap=True)
        screen.print(summary(faults))
    fatal = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    if any(fault.severity in fatal for fault in faults):
        raise typer.Exit(FOUND)


def summary(faults: Sequence[Fault]) -> str:
    """`2 errors, 1 warning`; errors are counted even when there are none."""
    counts = {severity: sum(fault.severity == severity for fault in faults) for severity in Severity}
    parts = [_counted(counts[Severity.ERROR], "error")]
    parts += [
        _counted(counts[severity], word)
        for severity, word in ((Severity.WARNING, "warning"), (Severity.INFO, "note"))
        if counts[severity]
    ]
    return ", ".join(parts)


def workflow_command(fault: Fault) -> str:
    """The fault as GitHub Actions takes it from a log: `::error file=...::message`."""
    level = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}[fault.severity]
    properties = {"file": fault.file, "line": fault.line, "col": fault.column, "title": fault.code}
    shown = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items() if value)
    hint = f" ({fault.hint})" if fault.hint else ""
    return f"::{level} {shown}::{_data(fault.message + hint)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _line(fault: Fault) -> Text:
    """str(fault), one line, with the severity in colour."""
    from rich.text import Text

    text = Text(str(fault).replace("\n", " "))
    style = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}[fault.severity]
    text.highlight_words([f" {fault.severity}: "], style)
    return text


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
