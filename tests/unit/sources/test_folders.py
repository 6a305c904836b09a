from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingressd.errors import Severity
from ingressd.sources.folders import ENTRIES_AT_ONCE, Listing, list_files


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a: 1\n", encoding="utf-8")


def codes(listing: Listing) -> list[tuple[str, str]]:
    return [(fault.code, fault.file) for fault in listing.faults]


def test_manifests_are_found_in_a_total_order() -> None:
    put("d/b.yaml", "d/a.yml", "d/z/c.JSON", "d/sub/a.yaml", "d/sub.yaml", "d/read.me", "d/c.yaml.bak", "e/a.yaml")
    listing = list_files(["e", "d"])
    assert list(listing.files) == ["e/a.yaml", "d/a.yml", "d/b.yaml", "d/sub/a.yaml", "d/sub.yaml", "d/z/c.JSON"]
    assert not listing.faults


def test_hidden_files_and_backups_are_not_looked_at() -> None:
    put("d/.a.yaml", "d/.git/a.yaml", "d/..data/a.yaml", "d/a.yaml~", "d/#a.yaml#", "d/.a.yaml.swp", "d/.#b.yaml")
    assert not list_files(["d"]).files


def test_a_path_stays_as_the_user_gave_it(tmp_path: Path) -> None:
    put("d/a.yaml", "d/plain")
    assert list(list_files(["d/../d/"]).files) == ["d/../d/a.yaml"]
    assert list(list_files([str(tmp_path / "d")]).files) == [str(tmp_path / "d/a.yaml")]
    assert list(list_files(["./d/plain"]).files) == ["./d/plain"]


def test_a_file_that_several_paths_lead_to_is_taken_once() -> None:
    put("d/sub/a.yaml", "d/b.yaml")
    Path("d/c.yaml").symlink_to("b.yaml")
    Path("d/again").symlink_to("sub")
    assert list(list_files(["d/sub", "d", "d/b.yaml", "."]).files) == ["d/sub/a.yaml", "d/b.yaml"]


def test_the_links_of_a_kubernetes_volume_are_followed() -> None:
    put("d/..2026_01/app.yaml", "d/..2026_01/other.yaml")
    Path("d/..data").symlink_to("..2026_01")
    Path("d/app.yaml").symlink_to("..data/app.yaml")
    listing = list_files(["d"])
    assert list(listing.files) == ["d/app.yaml"]
    assert not listing.faults
    assert os.path.realpath("d/..2026_01/app.yaml") in listing.named


def test_a_link_that_leads_out_is_not_followed() -> None:
    put("secret/a.yaml", "secret.yaml", "d/a.yaml", "d2/a.yaml")
    Path("d/b.yaml").symlink_to("../secret.yaml")
    Path("d/more").symlink_to("../secret")
    Path("d/prefix").symlink_to("../d2")
    Path("d/notes").symlink_to("../secret.yaml")
    Path("d/zup").symlink_to("..")
    listing = list_files(["d"])
    assert list(listing.files) == ["d/a.yaml"]
    assert codes(listing) == [("symlink_outside", f"d/{name}") for name in ("b.yaml", "more", "prefix", "zup")]
    assert {fault.severity for fault in listing.faults} == {Severity.WARNING}


def test_a_given_path_may_be_a_link_to_anywhere() -> None:
    put("real/a.yaml", "real/b")
    Path("d").symlink_to("real")
    Path("f").symlink_to("real/b")
    assert list(list_files(["d", "f"]).files) == ["d/a.yaml", "f"]


def test_links_that_lead_in_circles_end() -> None:
    put("d/sub/a.yaml")
    Path("d/sub/up").symlink_to("..")
    Path("d/self").symlink_to(".")
    Path("d/loop.yaml").symlink_to("loop.yaml")
    listing = list_files(["d"])
    assert [os.path.basename(path) for path in listing.files] == ["a.yaml"]
    assert codes(listing) == [("symlink_loop", "d/loop.yaml")]


def test_a_link_to_nothing_is_told_when_it_should_be_a_manifest() -> None:
    put("d/a.yaml")
    Path("d/b.yaml").symlink_to("none.yaml")
    Path("d/notes").symlink_to("none")
    listing = list_files(["d"])
    assert codes(listing) == [("symlink_dangling", "d/b.yaml")]
    assert listing.unknown == ["d/b.yaml"]


def test_only_files_are_taken() -> None:
    Path("d/folder.yaml").mkdir(parents=True)
    os.mkfifo("d/fifo.yaml")
    os.mkfifo("d/fifo")
    Path("d/null.yaml").symlink_to("/dev/null")
    listing = list_files(["d", "/dev/null"])
    assert not listing.files
    assert codes(listing) == [
        ("not_a_file", "d/fifo.yaml"),
        ("symlink_outside", "d/null.yaml"),
        ("not_a_file", "/dev/null"),
    ]


def test_a_given_path_that_is_missing_is_an_error() -> None:
    put("d/a.yaml")
    listing = list_files(["none", "d", "d/a.yaml/x"])
    assert list(listing.files) == ["d/a.yaml"]
    missing, inside = listing.faults
    assert (missing.code, missing.severity, missing.file) == ("path_missing", Severity.ERROR, "none")
    assert (inside.code, inside.severity) == ("file_unreadable", Severity.ERROR)
    assert listing.unknown == ["none", "d/a.yaml/x"]


def test_a_name_that_is_no_text_is_shown_safely() -> None:
    os.mkdir("d")
    os.symlink("none", b"d/\xff\n.yaml")
    (fault,) = list_files(["d"]).faults
    assert fault.file == r"d/\udcff\n.yaml"


def test_everything_that_a_manifest_may_appear_in_is_named(tmp_path: Path) -> None:
    put("real/sub/a.yaml", "file.yaml")
    Path("d").symlink_to("real")
    listing = list_files(["d", "file.yaml"])
    assert listing.folders == {str(tmp_path / "real"), str(tmp_path / "real/sub")}
    assert listing.named == {str(tmp_path / "d"), str(tmp_path / "real"), str(tmp_path / "file.yaml")}


def test_files_that_were_written_are_looked_at_again_alone() -> None:
    put("d/a.yaml", "d/b.yaml", "d/sub/c.yaml")
    before = list_files(["d"])
    Path("d/sub/c.yaml").write_text("a: 22\n", encoding="utf-8")
    Path("d/b.yaml").write_text("a: 22\n", encoding="utf-8")
    again = before.again([os.path.realpath("d/sub/c.yaml")])
    assert again is not None
    assert list(again.files) == list(before.files)
    assert again.files["d/sub/c.yaml"] == list_files(["d"]).files["d/sub/c.yaml"] != before.files["d/sub/c.yaml"]
    assert again.files["d/b.yaml"] == before.files["d/b.yaml"]
    assert again.folders == before.folders


@pytest.mark.parametrize("name", ["new.yaml", "gone.yaml", "link.yaml", "target.yaml", "folder.yaml", "fifo.yaml", "."])
def test_what_may_change_more_than_the_content_of_a_file_is_looked_for_everywhere(name: str) -> None:
    put("d/a.yaml", "d/gone.yaml", "d/zz/target.yaml", "d/folder.yaml", "d/fifo.yaml")
    Path("d/link.yaml").symlink_to("zz/target.yaml")
    before = list_files(["d"])
    put("d/new.yaml")
    for each in ("d/gone.yaml", "d/folder.yaml", "d/fifo.yaml"):
        Path(each).unlink()
    Path("d/folder.yaml").mkdir()
    os.mkfifo("d/fifo.yaml")
    place = f"d/zz/{name}" if name == "target.yaml" else f"d/{name}"
    assert before.again([os.path.abspath(place)]) is None
    assert before.again([os.path.abspath("d/a.yaml"), os.path.abspath(place)]) is None


def test_a_look_that_nobody_waits_for_rests_between_its_parts() -> None:
    put(*(f"d/{number:03d}.yaml" for number in range(2 * ENTRIES_AT_ONCE + 1)), "d/sub/a.yaml")
    rests: list[int] = []
    listing = list_files(["d"], lambda: rests.append(1))
    assert len(rests) == 2
    assert listing == list_files(["d"])
