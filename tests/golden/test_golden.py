"""The compiler against its golden cases: every CASE.yaml makes exactly what CASE.expected says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingressd.process.state_folder import StateFolder
from tests.golden.golden_case import FOLDER, Case, cases, expected_file

CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_the_compiler_makes_of_the_manifests_what_the_table_beside_them_says(name: str) -> None:
    assert Case(name).table() == expected_file(name).read_text()


@pytest.mark.parametrize("name", CASES)
def test_a_case_begins_with_the_sentence_that_it_shows(name: str) -> None:
    assert Case(name).sentence.endswith(".")


@pytest.mark.parametrize("name", CASES)
def test_a_table_can_be_kept_in_the_state_folder(name: str, tmp_path: Path) -> None:
    snapshot = Case(name).compiled().snapshot
    tmp_path.chmod(0o700)
    folder = StateFolder(str(tmp_path))
    folder.save(snapshot)
    kept = folder.load()
    assert kept is not None
    assert kept[0] == snapshot


def test_no_table_lacks_its_manifests() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.expected")) == CASES
