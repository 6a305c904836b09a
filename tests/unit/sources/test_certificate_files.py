from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingressd.sources.certificate_files import (
    FILE_BYTES,
    PRIVATE_FOLDER,
    PUBLIC_FILE,
    make_folder,
    open_to,
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


# Who else can read a key.


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can look into; those of pytest are private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o666, 0o444])
def test_a_key_that_others_can_read_is_open(open_folder: Path, mode: int) -> None:
    key = open_folder / "a.key"
    key.write_bytes(b"key")
    key.chmod(mode)
    assert open_to(key) == mode


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o622, 0o611])
def test_a_key_that_nobody_else_can_read_is_not(open_folder: Path, mode: int) -> None:
    key = open_folder / "a.key"
    key.write_bytes(b"key")
    key.chmod(mode)
    assert open_to(key) == 0


def test_a_folder_that_lets_nobody_through_closes_what_is_in_it(open_folder: Path) -> None:
    folder = open_folder / "certs"
    (folder / "proxy").mkdir(parents=True)
    key = folder / "proxy" / "a.key"
    key.write_bytes(b"key")
    key.chmod(0o644)
    assert open_to(key) == 0o644
    folder.chmod(0o700)
    assert open_to(key) == 0
    folder.chmod(0o710)
    assert open_to(key) == 0o644  # the group of both may read it
    key.chmod(0o604)
    assert open_to(key) == 0


def test_what_counts_is_the_file_behind_a_link_and_its_folders(open_folder: Path, tmp_path: Path) -> None:
    closed, link = tmp_path / "a.key", open_folder / "a.key"
    closed.write_bytes(b"key")
    closed.chmod(0o644)
    tmp_path.chmod(0o700)
    link.symlink_to(closed)
    assert open_to(link) == 0
    opened, other = open_folder / "b.key", tmp_path / "b.key"
    opened.write_bytes(b"key")
    opened.chmod(0o644)
    other.symlink_to(opened)
    assert open_to(other) == 0o644


def test_a_key_of_another_owner_is_not_ours_to_close(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = open_folder / "a.key"
    key.write_bytes(b"key")
    key.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)
    assert open_to(key) == 0


def test_a_key_that_is_not_there_is_not_open(tmp_path: Path) -> None:
    assert open_to(tmp_path / "none.key") == 0
