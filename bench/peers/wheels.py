"""Programs that come as Python wheels, in a venv of their own beside the harness (scripts/install-bench-peers)."""

from __future__ import annotations

import os
import shutil

from bench import ROOT

FOLDER = ROOT / "bench" / ".peers" / "bin"


def wheel_program(name: str) -> str | None:
    """The program from that venv, else from the PATH."""
    return shutil.which(name, path=f"{FOLDER}{os.pathsep}{os.environ.get('PATH', '')}")
