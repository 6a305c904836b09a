"""The command line: which commands there are, and how any mistake becomes one clear line.

In: sys.argv. Out: an exit code (0, 1 = found something, 2 = wrong usage or no way to work). What a command does is in
its own file, and heavy imports are in its body, so that --help stays quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import ingressd
from ingressd.cli import certs, check, demo, diff, explain, migrate, routes, run, services, simulate, upgrade
from ingressd.cli.console import USAGE, complain, silence_stdout
from ingressd.collector import MANY, resume
from ingressd.errors import StartupError

app = typer.Typer(
    name="ingressd",
    help="The Ingress controller without a cluster: Kubernetes manifests in, routed HTTPS out, every edit live.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"ingressd {ingressd.__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("run", short_help="Serve manifests, and every edit of them.")(run.run)
app.command("upgrade", short_help="Replace a running ingressd by the installed version.")(upgrade.upgrade)
app.command("check", short_help="Show every mistake in manifests.")(check.check)
app.command("routes", short_help="Show the table that manifests make.")(routes.routes)
app.command("services", short_help="Show Services, their ports and endpoints.")(services.services)
app.command("explain", short_help="Say which rule takes a request, and why.")(explain.explain)
app.command("diff", short_help="Show which routes an edit changes.")(diff.diff)
app.command("migrate", short_help="Say what manifests for ingress-nginx become.")(migrate.migrate)
app.command("simulate", short_help="Show whom the schedulers pick.")(simulate.simulate)
app.command("demo", short_help="Serve the examples, with apps behind them.")(demo.demo)
app.add_typer(certs.app, name="certs")


# typer keeps click's exceptions to itself: BadParameter is the public one, a UsageError, which is a ClickException.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run the command that sys.argv names, and exit."""
    resume(after=MANY)  # a command imports what it needs while it runs, and most of them end soon
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command; returns its exit code. Every mistake has become one line on standard error."""
    try:
        code = app(arguments, prog_name="ingressd", standalone_mode=False) or 0
        # Here, where a reader that has gone is no traceback yet.
        sys.stdout.flush()
        return code
    except _CommandLineError as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "ingressd"
        message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
        complain(f"{message.rstrip('.')} (see `{command} --help`)")
        return USAGE
    except StartupError as error:
        complain(str(error))
        return USAGE
    except typer.Abort:
        return 130
    except BrokenPipeError:
        silence_stdout()
        return 1
