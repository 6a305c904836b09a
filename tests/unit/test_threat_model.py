"""docs/threat-model.md names only tests that exist, and for each threat at least one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
TESTS = CHECKOUT / "tests"
TEXT = (CHECKOUT / "docs" / "threat-model.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`([a-z0-9_/]+\.(?:py|yaml))::([^`]+)`")
REFERENCES = sorted({(file, name) for file, name in REFERENCE.findall(TEXT)})


@cache
def names_in(file: str) -> frozenset[str]:
    """Tests of a module, or conversations of a file of cases."""
    text = (TESTS / file).read_text(encoding="utf-8")
    if file.endswith(".yaml"):
        return frozenset(case["name"] for case in yaml.safe_load(text) if "name" in case)
    nodes = ast.parse(text).body
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def threats() -> list[str]:
    """Rows of the tables whose last column is the test."""
    rows: list[str] = []
    inside = False
    for line in TEXT.splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.rstrip().endswith("| test |"):
            inside = True
        elif inside and not line.startswith("|---"):
            rows.append(line)
    return rows


@pytest.mark.parametrize(("file", "name"), REFERENCES, ids=lambda part: str(part).replace(" ", "-"))
def test_a_test_that_the_threat_model_names_exists(file: str, name: str) -> None:
    assert (TESTS / file).is_file(), f"docs/threat-model.md names tests/{file}, which is gone"
    assert name in names_in(file), f"docs/threat-model.md names {name}, which is not in tests/{file}"


def test_every_threat_has_its_test() -> None:
    assert len(threats()) > 60
    assert [row for row in threats() if not REFERENCE.search(row.rsplit("|", 2)[1])] == []


def test_what_looks_like_the_name_of_a_test_is_one() -> None:
    assert [each for each in re.findall(r"`[^`\n]*::[^`\n]*`", TEXT) if not REFERENCE.fullmatch(each)] == [
        "`wire/cases/*.yaml::name`"  # how such names are written
    ]


def narrows(test: ast.expr) -> bool:
    """`x is not None`: said to mypy, and if it were false, the next line would fail by itself."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.IsNot)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value is None
    )


def test_the_package_does_not_rely_on_assert() -> None:
    # `python -O` takes assertions away: what they guard would be open.
    found = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno}"
        for path in sorted((CHECKOUT / "ingressd").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert) and not narrows(node.test)
    ]
    assert found == []
