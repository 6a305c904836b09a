"""Every command in README.md, the documents and the examples is run, or stands in ELSEWHERE with where it is run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.examples.console_blocks import Block, Command, blocks
from tests.examples.running_demo import RunningDemo

CHECKOUT = Path(__file__).parents[2]

DOCUMENTS = sorted(path for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in CHECKOUT.glob(pattern))

ELSEWHERE = {
    r"make demo": "scripts/fresh-clone runs it; the fixture of this test runs `ingressd demo`",
    r"make venv": ".ci/run runs it",
    r"make check": ".ci/run runs its two halves, make lint and make test",
    r"make certs": "scripts/e2e-docker runs it",
    r"pip install ./examples/discovery-plugin": "test_discovery_plugin.py installs it, into a folder of its own",
    r"PHONE_BOOK=.* ingressd run .*": "test_discovery_plugin.py runs it",
    r"pip install -e '\.\[fuzz\]'": "make fuzz runs it",
    r"python -m fuzz .*": "make fuzz runs it, for longer than a test may take; tests/fuzz runs the corpus",
    r"python -m soak .*": "make soak runs it, for half an hour",
    r"docker compose .*": "scripts/e2e-docker runs the compose file",
    r"ingressd run manifests --cluster-ips --dns-port 5300": "tests/process/test_dns.py runs it",
    r"dig .*(shop\.svc\.cluster\.local.*|-x 127\.96\.0\.80|dns-version\..*)": "tests/process/test_dns.py runs it",
    r"ingressd demo -- --cluster-ips": "the fixture of this test runs it, on free ports",
}
"""A whole command, as a regular expression -> where it is run instead, and why not here."""

BLOCKS = [block for path in DOCUMENTS for block in blocks(CHECKOUT, path)]

SETTLE_S = 10
"""How long an edit that a document makes may take to be seen: many times what it does take, for loaded machines."""


def elsewhere(command: Command) -> bool:
    return any(re.fullmatch(pattern, command.text) for pattern in ELSEWHERE)


@pytest.mark.xdist_group("demo")
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_commands_of_a_document_work_as_printed(demo: RunningDemo, block: Block) -> None:
    for command in block.commands:
        if not elsewhere(command):
            run_until_it_works(demo, command)
    assert demo.restore_examples() == [], "a block must undo its own edits"


def run_until_it_works(demo: RunningDemo, command: Command) -> None:
    """Run once; again while an edit just made by the same document may still be on its way."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        code, output = demo.run(command.text)
        missing = first_missing(output, [demo.here(fragment) for fragment in command.fragments])
        if code == 0 and missing is None:
            return
        if time.monotonic() > deadline:
            problem = f"exit code {code}" if code else f"no {missing!r}"
            pytest.fail(f"{command}: $ {command.text}\n{problem} in:\n{output}\n--- the demo:\n{demo.log[-4000:]}")
        time.sleep(0.2)


def first_missing(output: str, fragments: list[str]) -> str | None:
    position = 0
    for fragment in fragments:
        found = output.find(fragment, position)
        if found < 0:
            return fragment
        position = found + len(fragment)
    return None


def test_every_exception_is_still_needed() -> None:
    texts = [command.text for block in BLOCKS for command in block.commands]
    unused = [pattern for pattern in ELSEWHERE if not any(re.fullmatch(pattern, text) for text in texts)]
    assert unused == []


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(CHECKOUT)}: {target}"
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []
