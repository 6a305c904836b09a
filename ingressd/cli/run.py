"""`ingressd run DIR...`: check the settings, then become the supervisor.

In: flags, INGRESSD_* variables, a settings file. Out: this process is the supervisor (exec), or one line and exit
code 2.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ingressd.cli.console import USAGE, complain, fail
from ingressd.cli.setting_flags import FLAGS, takes_settings


@takes_settings(FLAGS, limits=True)
def run(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="DIR...", help="Folders or files with manifests.", show_default=False)
    ] = None,
    **given: Any,
) -> None:
    """Serve the manifests in DIR..., and every edit of them from the moment it is saved.

    Every flag is also a variable (--http-port is INGRESSD_HTTP_PORT) and a key of a settings file (http_port).
    A flag beats the variable, the variable beats the file. SIGTERM drains, SIGHUP reads everything again.
    """
    from ingressd.admin import credentials
    from ingressd.cli.settings_sources import SettingsError, read_settings
    from ingressd.listener import introductions
    from ingressd.process.supervisor import exec_supervisor

    try:
        settings, notes = read_settings({"paths": paths, **given}, os.environ)
    except SettingsError as error:
        for mistake in error.mistakes:
            complain(mistake)
        raise typer.Exit(USAGE) from None
    for note in notes:
        complain(note)
    if not settings.paths:
        fail("no manifests: name a folder, as in `ingressd run manifests/` (or set INGRESSD_PATHS)")
    for path in settings.paths:
        if not Path(path).exists() and not settings.state_dir:  # a kept snapshot may be there in its place
            fail(f"{path}: no such file or folder")
    credentials.check(settings)
    introductions.check(settings)
    for flag in FLAGS:
        if flag.secret:
            # The processes of the program learn it by their channel: their environment is shown by `ps e`.
            os.environ.pop(flag.variable, None)
    exec_supervisor(settings)
