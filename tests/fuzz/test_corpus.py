"""Every input that the fuzzer ever learned from or failed on keeps its promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import CORPUS
from fuzz.targets import NAMES, load

CORPUS_BYTES = 300 * 1024
INPUTS = sorted(path for name in NAMES for path in (CORPUS / name).iterdir())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}: {path.name}")
def test_an_input_of_the_corpus_breaks_no_promise(path: Path) -> None:
    load(path.parent.name).check(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_target_begins_with_inputs_of_its_own(name: str) -> None:
    assert len([path for path in INPUTS if path.parent.name == name]) >= 3


def test_the_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for path in INPUTS) < CORPUS_BYTES
