"""docs/faults.md has every code that the program can show, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
SAYERS = ("model/*.py", "sources/*.py", "compile/*.py", "process/fallback.py")
"""Who finds faults."""
_CODE = re.compile(r"[a-z]+(_[a-z]+)+")
_CODECS = {"unicode_escape", "on_request", "on_response"}
"""Words of Python and names of methods that look the same."""


def codes_of(tree: ast.Module) -> Iterator[str]:
    """Strings that look like codes. Keys of mappings, and what is compared, are words of JSON or of pydantic."""
    others: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            others |= {id(key) for key in node.keys}
        elif isinstance(node, ast.Compare):
            others |= {id(each) for each in (node.left, *node.comparators)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in others:
            continue
        if _CODE.fullmatch(node.value):
            yield node.value


def test_the_reference_of_faults_is_complete() -> None:
    shown = {
        code
        for modules in SAYERS
        for path in sorted((CHECKOUT / "ingressd").glob(modules))
        for code in codes_of(ast.parse(path.read_text(encoding="utf-8")))
    } - _CODECS
    text = (CHECKOUT / "docs" / "faults.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)
    assert {"missing": sorted(shown - {*described}), "outdated": sorted({*described} - shown)} == {
        "missing": [],
        "outdated": [],
    }
    assert len(described) == len({*described}), "a code is described twice"
