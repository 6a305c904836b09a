from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingressd.sources.contents import FILE_BYTES, Unreadable, read_content, text_of
from ingressd.sources.yaml_values import Refused


def refused_content(path: Path) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        read_content(str(path))
    return caught.value


def test_a_file_that_was_just_written_is_not_settled_and_an_old_one_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1")
    content = read_content(str(path))
    assert content.data == b"a: 1"
    assert not content.settled
    assert read_content(__file__).settled


def test_a_file_that_is_too_large_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 1024**3)
    why = refused_content(path)
    assert (why.code, str(why)) == ("file_too_large", "is larger than 16 MiB")
    os.truncate(path, FILE_BYTES + 1)
    assert refused_content(path).code == "file_too_large"


def test_a_fifo_that_took_a_files_place_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    os.mkfifo(path)
    assert refused_content(path).code == "not_a_file"


def test_what_is_no_file_says_so(tmp_path: Path) -> None:
    assert str(refused_content(tmp_path)) == "cannot be read: Is a directory"
    assert refused_content(Path("/dev/null")).code == "not_a_file"
    assert refused_content(tmp_path / "none").gone
    (tmp_path / "link").symlink_to(__file__)
    assert refused_content(tmp_path / "link").code == "file_unreadable"


def test_line_ends_and_byte_order_marks_make_no_difference() -> None:
    assert text_of(b"\xef\xbb\xbfa: 1\r\nb: \xc3\xa9\rc\n") == "a: 1\nb: é\nc\n"
    assert text_of(b"") == ""


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        ("a: 1".encode("utf-16"), 1, 1),
        ("a: 1".encode("utf-16-le"), 1, 1),
        ("a: 1".encode("utf-16-be"), 1, 1),
        ("a: 1".encode("utf-32"), 1, 1),
        (b"a: 1\nb: \xff", 2, 4),
        (b"a: caf\xe9", 1, 7),
    ],
)
def test_another_encoding_is_refused_with_its_place(data: bytes, line: int, column: int) -> None:
    with pytest.raises(Refused) as caught:
        text_of(data)
    assert (caught.value.code, caught.value.line, caught.value.column) == ("file_encoding", line, column)
    assert "UTF-8" in caught.value.hint
