from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ingressd.sources.certificate_files import (
    FILE_BYTES,
    PRIVATE_FOLDER,
    PUBLIC_FILE,
    make_folder,
    read_pair,
    write_file,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def wide_open() -> object:
    """A umask that keeps nothing back."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_pair_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_bytes(b"chain")
    (tmp_path / "a.key").write_bytes(b"key")
    assert read_pair(str(tmp_path / "a.crt"), str(tmp_path / "a.key")) == (b"chain", b"key", "")


def test_of_a_pair_that_cannot_be_read_nothing_is_given_and_the_file_is_named(tmp_path: Path) -> None:
    chain, key = tmp_path / "a.crt", tmp_path / "a.key"
    chain.write_bytes(b"chain")
    assert read_pair(str(chain), str(key)) == (b"", b"", f"{key}: No such file or directory")
    key.mkdir()
    assert read_pair(str(chain), str(key)) == (b"", b"", f"{key}: not a file")
    key.rmdir()
    os.mkfifo(key)
    assert read_pair(str(chain), str(key)) == (b"", b"", f"{key}: not a file")
    key.unlink()
    key.write_bytes(b"x" * (FILE_BYTES + 1))
    assert read_pair(str(chain), str(key))[2] == f"{key}: larger than 1 MiB: no certificate or key is"


@pytest.mark.usefixtures("wide_open")
def test_a_key_is_for_its_owner_and_a_certificate_for_everybody(tmp_path: Path) -> None:
    write_file(tmp_path / "a.key", b"key")
    write_file(tmp_path / "a.crt", b"chain", PUBLIC_FILE)
    assert (mode_of(tmp_path / "a.key"), mode_of(tmp_path / "a.crt")) == (0o600, 0o644)


@pytest.mark.usefixtures("wide_open")
def test_a_key_that_was_open_is_closed_when_it_is_written_again(tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    key.write_bytes(b"old")
    key.chmod(0o666)
    write_file(key, b"new")
    assert (key.read_bytes(), mode_of(key)) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [key]


def test_what_cannot_be_replaced_stays_and_leaves_nothing_behind(tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    key.mkdir()
    (key / "inside").touch()
    with pytest.raises(OSError, match=r"a\.key"):
        write_file(key, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]


@pytest.mark.usefixtures("wide_open")
def test_a_new_folder_is_private_and_an_old_one_stays_as_it_is(tmp_path: Path) -> None:
    make_folder(tmp_path / "new")
    assert mode_of(tmp_path / "new") == 0o700
    (tmp_path / "old").mkdir(mode=0o755)
    make_folder(tmp_path / "old")
    assert mode_of(tmp_path / "old") == 0o755
    make_folder(tmp_path / "old", PRIVATE_FOLDER, enforce=True)
    assert mode_of(tmp_path / "old") == 0o700
