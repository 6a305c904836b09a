"""Corpus: of all inputs that were made, a few that together reach every line that any of them reaches.

In: a target and a folder of inputs. Out: files in corpus/TARGET, named by their digest. A file with a name of its own
is a finding, or an example that somebody wrote: it stays.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz import CORPUS, targets

SEED_BYTES = 2048
"""Larger inputs are not kept: they say what smaller ones say."""
_PACKAGE = f"{Path(__file__).parent.parent / 'ingressd'}/"
_by_digest = re.compile(r"[0-9a-f]{16}").fullmatch

Step = tuple[str, int, int]
"""File, line and the line before: which way was taken, not only where it led."""


def minimise(name: str, made: Path) -> int:
    """Make the corpus of a target anew from itself and from what was `made`. Returns how many inputs it has."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    check = targets.load(name).check
    own = [path for path in sorted(folder.iterdir()) if not _by_digest(path.name)]
    reached: set[Step] = set()
    for path in own:
        reached |= _steps(check, path.read_bytes())
    candidates = [
        *(path for path in folder.iterdir() if _by_digest(path.name)),
        *(made.iterdir() if made.is_dir() else []),
    ]
    inputs = sorted({path.read_bytes() for path in candidates}, key=lambda data: (len(data), data))
    for path in candidates:
        if path.parent == folder:
            path.unlink()
    for data in inputs:
        if len(data) > SEED_BYTES:
            break
        steps = _steps(check, data)
        if not steps <= reached:
            reached |= steps
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len([*folder.iterdir()])


def _steps(check: Callable[[bytes], None], data: bytes) -> set[Step]:
    """The steps that a check takes in the package."""
    steps: set[Step] = set()

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE):
            return None
        last = 0

        def walk(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((file, frame.f_lineno, last))
                last = frame.f_lineno
            return walk

        return walk

    sys.settrace(enter)
    try:
        check(data)
    finally:
        sys.settrace(None)
    return steps
