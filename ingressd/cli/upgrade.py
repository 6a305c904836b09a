"""`ingressd upgrade`: ask a running ingressd to go on as the version that is installed now.

In: a process id, or the file that holds it. Out: SIGUSR2 to that process, if it is an ingressd at all, or one line and
exit code 2. How the upgrade goes is in the log of that process.
"""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from ingressd.cli.console import fail
from ingressd.cli.setting_flags import PREFIX

_VARIABLE = PREFIX + "PID_FILE"


def upgrade(
    pid: Annotated[
        int | None,
        typer.Option("--pid", metavar="N", min=1, help="Process id of the running ingressd; 1 in a container."),
    ] = None,
    pid_file: Annotated[
        str | None,
        typer.Option("--pid-file", metavar="FILE", help=f"File with that id [{_VARIABLE}]."),
    ] = None,
) -> None:
    """Make a running ingressd go on as the version that is installed now, without losing a request.

    It reads the settings anew, from the command line and the environment that it was started with. If the new version
    does not get ready, the old one goes on and its log says why.
    """
    from ingressd.process.pid_file import is_supervisor, read_pid

    if pid is not None and pid_file is not None:
        fail("name either --pid or --pid-file")
    if pid is None:
        pid_file = pid_file or os.environ.get(_VARIABLE)
        if not pid_file:
            fail("which ingressd? Name its process with --pid N, or the file that it was given with --pid-file")
        pid = read_pid(pid_file)
        if not pid:
            fail(
                f"{pid_file}: there is no process id in this file: ingressd is not running, or runs without --pid-file"
            )
    if not is_supervisor(pid):
        fail(f"process {pid} is not an ingressd: nothing was sent to it")
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError as problem:
        fail(f"process {pid} cannot be told: {problem.strerror}")
    print(f"process {pid} was asked to upgrade; its log says when the new version serves")
