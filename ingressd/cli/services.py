"""`ingressd services [DIR...]`: the Services of manifests, or those of a running ingressd with what it counts.

In: folders, or the URL of an admin port. Out: a table (service_table.py), or what the API answers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingressd.cli.admin_client import ADMIN_URL, TOKEN_FILE_VARIABLE, ask_admin, read_token
from ingressd.cli.console import console, fail, print_json
from ingressd.cli.offline import OFFLINE_FLAGS, Output, compile_paths
from ingressd.cli.setting_flags import takes_settings

if TYPE_CHECKING:
    from rich.table import Table

PAGE = "/api/v1/services"


@takes_settings(OFFLINE_FLAGS)
def services(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DIR...|URL",
            help="Folders or files with manifests; with --live the URL of an admin port.",
            show_default=False,
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help=f"Ask a running ingressd, which is at {ADMIN_URL} unless there is a URL."),
    ] = False,
    token_file: Annotated[
        str | None,
        typer.Option(
            "--admin-token-file", metavar="FILE", help=f"File with the token of that port [{TOKEN_FILE_VARIABLE}]."
        ),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")] = Output.TEXT,
    **given: Any,
) -> None:
    """Show the Services of DIR...: type, addresses and ports, who picks, and the endpoints with where they were found.

    With --live it is what a running ingressd knows and counts: one line an endpoint, summed over its workers.
    """
    if live:
        if paths and len(paths) > 1:
            fail(f"--live takes one URL, such as {ADMIN_URL}, and no folders")
        url = paths[0] if paths else ADMIN_URL
        rows = ask_admin(url, PAGE, read_token(token_file, os.environ))
    else:
        from ingressd.process.service_report import service_rows

        rows = service_rows(compile_paths(paths, given, "services"))
    if output is Output.JSON:
        print_json(rows)
    elif not rows:
        console().print("no Services (`ingressd check` says what is wrong)")
    else:
        console().print(_table(rows, live))


def _table(rows: Any, live: bool) -> Table:
    from ingressd.cli.service_table import live_table, written_table

    if not live:
        return written_table(rows)
    try:
        return live_table(rows)
    except (KeyError, TypeError, AttributeError):
        fail("what was asked is another version of ingressd, or none: --output json shows what it answers")
