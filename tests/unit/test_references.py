"""The documents that `make docs` writes are what it would write now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ingressd.compile.pools import SERVICE_ANNOTATIONS
from ingressd.filters.registry import ANNOTATIONS, CHAIN
from ingressd.filters.unsupported import GUARDS, LEFT_OUT

CHECKOUT = Path(__file__).parents[2]
ANNOTATIONS_PAGE = CHECKOUT / "docs" / "annotations.md"


@pytest.mark.parametrize("name", ["settings", "annotations"])
def test_a_reference_is_what_make_docs_writes(name: str) -> None:
    script = CHECKOUT / "scripts" / f"{name}-reference"
    done = subprocess.run([sys.executable, script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    written = (CHECKOUT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert written == done.stdout, "it is outdated: run `make docs`"


def test_every_annotation_is_described_once() -> None:
    described = re.findall(r"^\| `([a-z0-9./-]+)`", ANNOTATIONS_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(described) == sorted((*ANNOTATIONS, *GUARDS, *LEFT_OUT, *SERVICE_ANNOTATIONS))


def test_the_order_of_the_chain_is_that_of_the_registry() -> None:
    text = ANNOTATIONS_PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| \d+ \| \[([^]]+)\]", text, re.MULTILINE) == [spec.name for spec in CHAIN]


def test_every_link_into_the_page_leads_to_a_heading() -> None:
    text = ANNOTATIONS_PAGE.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\(#([^)]+)\)", text)) <= headings


@pytest.mark.parametrize("name", sorted({*GUARDS, *LEFT_OUT}))
def test_what_is_not_followed_has_a_way_out(name: str) -> None:
    assert GUARDS.get(name) or LEFT_OUT.get(name)
