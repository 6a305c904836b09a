"""Fuzzing: programs that make inputs nobody thought of, and checks that must hold for every input.

`python -m fuzz TARGET --seconds 300` runs atheris on one target; `corpus/TARGET` holds what it begins with. Each check
is a plain function of bytes, which the tests call with the whole corpus: what was found once stays found.
"""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target: inputs that reach different lines, and every finding so far."""
