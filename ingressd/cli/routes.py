"""`ingressd routes DIR...`: the table that the manifests make.

In: folders. Out: one row a route, in the order in which the proxy looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingressd.cli.console import console, print_json
from ingressd.cli.offline import OFFLINE_FLAGS, Output, compile_paths, questions
from ingressd.cli.setting_flags import takes_settings

if TYPE_CHECKING:
    from ingressd.compile.compilation import Compilation, RouteRow

SHOWN_ENDPOINTS = 3
"""More of them are counted: a table is to be read."""


@takes_settings(OFFLINE_FLAGS)
def routes(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="DIR...", help="Folders or files with manifests.", show_default=False)
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")] = Output.TEXT,
    **given: Any,
) -> None:
    """Show the routes that DIR... makes: exact hosts first, then wildcards, then all hosts.

    Of one host, paths are in their order of precedence. Rules that can never win are not in the table; `ingressd
    check` names them.
    """
    compilation = compile_paths(paths, given, "routes")
    if output is Output.JSON:
        print_json([row.as_dict() for row in compilation.routes])
    else:
        _print_table(compilation)


def endpoints_of(row: RouteRow, compilation: Compilation) -> str:
    """Where requests of a route go, as far as it is known without a network."""
    route, pool = row.route, row.pool
    if route.denied:
        return f"denied: {route.denied}"
    if pool is None:
        return "none: there is no such Service port"
    keys = [endpoint.key for endpoint in pool.endpoints]
    shown = [*keys[:SHOWN_ENDPOINTS], *questions(compilation, pool.id)]
    if len(keys) > SHOWN_ENDPOINTS:
        shown.append(f"{len(keys) - SHOWN_ENDPOINTS} more")
    return ", ".join(shown) or f"none: {pool.problem}"


def _print_table(compilation: Compilation) -> None:
    from rich.table import Table

    screen = console()
    rows = compilation.routes
    if not rows:
        screen.print("no routes: every request gets 404 (`ingressd check` says what is wrong)")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("HOST", "PATH", "TYPE", "SERVICE", "ENDPOINTS", "FILTERS", "INGRESS", "PLACE"):
        # Folded, never cut: what is shown can be copied.
        table.add_column(title, overflow="fold")
    for row in rows:
        route = row.route
        table.add_row(
            route.host or "*",
            f"{route.path} ({row.condition})" if row.condition else route.path,
            route.path_type,
            f"{route.service}:{route.port}" if route.service else "",
            endpoints_of(row, compilation),
            ", ".join(str(each) for each in route.filters),
            f"{route.namespace}/{route.ingress}" if route.ingress else "",
            # A route of --default-backend stands in no file.
            f"{route.file}:{route.line}" if route.line else route.file,
        )
    screen.print(table)
