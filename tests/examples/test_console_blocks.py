from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.console_blocks import Block, Command, blocks


def read(tmp_path: Path, text: str) -> list[Block]:
    path = tmp_path / "a.md"
    path.write_text(text)
    return list(blocks(tmp_path, path))


def test_commands_have_the_fragments_that_follow_them(tmp_path: Path) -> None:
    text = "# A\n\n```console\n$ one\n...\nout 1\n\n$ two \\\n    --more\n```\n\n```yaml\na: $ b\n```\n"
    commands = (Command("a.md", 4, "one", ("out 1",)), Command("a.md", 8, "two --more", ()))
    assert read(tmp_path, text) == [Block("a.md", 3, commands)]


def test_commands_cannot_hide_in_a_block_of_another_language(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.md:1: write commands in a console block, not sh"):
        read(tmp_path, "```sh\nrm -rf /\n```\n")


def test_output_before_the_first_command_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.md:2: a console block begins"):
        read(tmp_path, "```console\nls\n```\n")
