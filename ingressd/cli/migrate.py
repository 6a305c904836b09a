"""`ingressd migrate DIR...`: what manifests for ingress-nginx become here.

In: folders with manifests as they are. Out: a report for people, for programs or for a pull request, and an exit code.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ingressd.cli.console import FOUND, console, print_json
from ingressd.cli.offline import OFFLINE_FLAGS, read_paths
from ingressd.cli.setting_flags import takes_settings


class MigrateOutput(StrEnum):
    """What is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


@takes_settings(OFFLINE_FLAGS)
def migrate(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="DIR...", help="Folders or files with manifests.", show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when something is not supported.")] = False,
    output: Annotated[
        MigrateOutput, typer.Option("--output", "-o", help="For people, programs, or a pull request.")
    ] = MigrateOutput.TEXT,
    **given: Any,
) -> None:
    """Say of each Ingress for ingress-nginx in DIR... what works the same, what differs and what is not supported.

    Snippets and the controller's ConfigMap become annotations and flags where there are any. Exit code 0; with
    --strict 1 when something is not supported.
    """
    from ingressd.migration import pages
    from ingressd.migration.differences import EVERYWHERE
    from ingressd.migration.report import report

    resources, options = read_paths(paths, given, "migrate")
    found = report(resources, options, EVERYWHERE)
    if output is MigrateOutput.JSON:
        print_json(found.as_dict())
    else:
        screen = console()
        for line in (pages.markdown if output is MigrateOutput.MARKDOWN else pages.text)(found):
            screen.print(line, soft_wrap=True)
    if strict and found.unsupported:
        raise typer.Exit(FOUND)
