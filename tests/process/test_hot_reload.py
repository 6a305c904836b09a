"""Edits of every kind while the program serves: the next request shows them, they count once, nobody else notices."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingressd.sources.events import SETTLE_MS
from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.certificates import issue
from tests.support.program import Program, running, until
from tests.support.site import Site
from tests.support.steady import Steady

pytestmark = pytest.mark.xdist_group("hot-reload")

WORKERS = 2
ENOUGH = 10 * WORKERS
"""Requests on new connections, so that no worker is left out but by an odd chance."""


class World:
    """What all tests here share: one program, two applications, a folder."""

    def __init__(self, program: Program, site: Site, one: App, two: App) -> None:
        self.program = program
        self.site = site
        self.one = one
        self.two = two
        self.generation = program.generation
        """What it must be: every edit of every test is counted."""

    def counted(self, edits: int) -> None:
        """So many edits have been made since the last call: wait until they are served, and no more than that."""
        self.generation += edits
        self.program.until_served(self.generation)
        assert self.program.generation == self.generation, self.program.said

    def answers(self, host: str, answer: tuple[int, str]) -> None:
        """Every worker answers so now, without another moment's wait."""
        for _ in range(ENOUGH):
            assert self.program.get(host=host) == answer

    def missing(self, host: str) -> None:
        """No worker has a route for the host."""
        for _ in range(ENOUGH):
            assert self.program.get(host=host)[0] == 404


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    site = Site(folder / "site")
    with app("one") as one, app("two") as two:
        site.route("steady.localhost", one, "steady.yaml")
        with running(folder / "log", str(site.folder), "--https-port=0", "--access-log=off") as program:
            yield World(program, site, one, two)


@pytest.fixture
def live(world: World) -> Iterator[World]:
    """The world, in which two clients of another route must not notice the test."""
    assert world.program.generation == world.generation, "an edit of an earlier test counted more than once"
    with Steady(world.program, "steady.localhost", "one"):
        yield world


def _text(host: str, to: App) -> str:
    return manifests.routed(host.partition(".")[0], host, to.port)


# Ways to save a file.


def _in_place(path: Path, text: str) -> None:
    path.write_text(text)


def _with_backup(path: Path, text: str) -> None:
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def _with_copy(path: Path, text: str) -> None:
    shutil.copy2(path, path.with_name(f"{path.name}.bak"))
    path.write_text(text)


@pytest.mark.parametrize("save", [_in_place, manifests.replace, _with_backup, _with_copy])
def test_a_saved_file_is_served(live: World, save: Any) -> None:
    path = live.site.write("saved.yaml", _text("saved.localhost", live.one))
    live.counted(1)
    live.answers("saved.localhost", (200, "one"))
    save(path, _text("saved.localhost", live.two))
    live.counted(1)
    live.answers("saved.localhost", (200, "two"))
    path.unlink()
    live.counted(1)


def test_a_deleted_file_takes_its_routes_with_it(live: World) -> None:
    path = live.site.write("gone.yaml", _text("gone.localhost", live.one))
    live.counted(1)
    live.answers("gone.localhost", (200, "one"))
    path.unlink()
    live.counted(1)
    live.missing("gone.localhost")


def test_a_moved_file_changes_nothing(live: World) -> None:
    path = live.site.write("moved.yaml", _text("moved.localhost", live.one))
    live.counted(1)
    with Steady(live.program, "moved.localhost", "one"):
        moved = path.rename(live.site.file("renamed.yaml"))
        live.counted(1)
    newest = live.program.api("reloads")[0]
    assert (newest["added"], newest["changed"], newest["removed"]) == (0, 0, 0)
    (route,) = [route for route in live.program.api("routes") if route["host"] == "moved.localhost"]
    assert route["file"] == str(moved)
    moved.unlink()
    live.counted(1)


def test_an_edit_that_leaves_size_and_time_of_the_file_is_seen(live: World) -> None:
    """As `cp --preserve` and archives write; both ports have as many digits."""
    host = "preserved.localhost"
    old, new = _text(host, live.one), _text(host, live.two)
    assert len(old) == len(new)
    path = live.site.write("preserved.yaml", old)
    live.counted(1)
    status = path.stat()
    path.write_text(new)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    live.counted(1)
    live.answers(host, (200, "two"))
    path.unlink()
    live.counted(1)


def test_the_target_of_a_link_is_followed(live: World) -> None:
    target = live.site.folder / "elsewhere" / "linked.txt"
    target.parent.mkdir()
    target.write_text(_text("linked.localhost", live.one))
    link = live.site.file("linked.yaml")
    link.symlink_to("elsewhere/linked.txt")
    live.counted(1)
    target.write_text(_text("linked.localhost", live.two))
    live.counted(1)
    live.answers("linked.localhost", (200, "two"))
    link.unlink()
    live.counted(1)
    shutil.rmtree(target.parent)


def test_a_folder_that_is_moved_in_is_served_and_followed(live: World, tmp_path: Path) -> None:
    draft = Site(tmp_path / "team")
    draft.write("first.yaml", _text("team-one.localhost", live.one))
    Site(draft.folder / "deeper").write("second.yaml", _text("team-two.localhost", live.two))
    folder = draft.folder.rename(live.site.folder / "team")
    live.counted(1)
    live.answers("team-one.localhost", (200, "one"))
    live.answers("team-two.localhost", (200, "two"))
    manifests.replace(folder / "deeper" / "second.yaml", _text("team-two.localhost", live.one))
    live.counted(1)
    live.answers("team-two.localhost", (200, "one"))
    folder.rename(tmp_path / "away")
    live.counted(1)
    live.missing("team-one.localhost")
    live.missing("team-two.localhost")


def test_a_folder_that_is_filled_file_by_file_is_served_whole(live: World) -> None:
    deep = live.site.folder / "new" / "deep" / "deeper"
    deep.mkdir(parents=True)
    hosts = [f"filled-{number}.localhost" for number in range(20)]
    for host in hosts:
        (deep / f"{host}.yaml").write_text(_text(host, live.one))
    for host in hosts:
        live.program.until_answers((200, "one"), host=host)
    shutil.rmtree(live.site.folder / "new")
    until(lambda: all(live.program.get(host=host)[0] == 404 for host in hosts), "the routes to end")
    until(lambda: len(live.program.api("routes")) == 1, "one route to be left")
    # How many edits that was is up to the disk; that it is over is not.
    live.generation = live.program.generation


def test_the_swap_of_a_mounted_config_map_is_one_edit(live: World) -> None:
    volume = live.site.folder / "volume"
    manifests.mount(volume, "..2030_01_01", _text("volume.localhost", live.one))
    (volume / "routes.yaml").symlink_to("..data/routes.yaml")
    live.counted(1)
    live.answers("volume.localhost", (200, "one"))
    manifests.mount(volume, "..2030_01_02", _text("volume.localhost", live.two))
    shutil.rmtree(volume / "..2030_01_01")
    live.counted(1)
    live.answers("volume.localhost", (200, "two"))
    shutil.rmtree(volume)
    live.counted(1)
    live.missing("volume.localhost")


def test_taking_tls_away_ends_the_redirect(live: World) -> None:
    host = "plain.localhost"
    text = manifests.routed("plain", host, live.one.port, secret="pair")
    path = live.site.write("plain.yaml", text + "---\n" + manifests.secret("pair", issue(host)))
    live.counted(1)
    assert {live.program.get(host=host)[0] for _ in range(ENOUGH)} == {308}
    manifests.replace(path, _text(host, live.one))
    live.counted(1)
    live.answers(host, (200, "one"))
    path.unlink()
    live.counted(1)


# Mistakes.


def test_half_a_file_changes_nothing_but_the_faults(live: World) -> None:
    path = live.site.write("half.yaml", _text("half.localhost", live.one))
    live.counted(1)
    whole = _text("half.localhost", live.two)
    cut = whole.index("pathType") + len("path")
    path.write_text(whole[:cut])
    live.counted(1)
    live.answers("half.localhost", (200, "one"))
    (fault,) = [fault for fault in live.program.faults(path) if fault["severity"] == "error"]
    assert fault["code"] == "yaml_syntax"
    last = whole[:cut].count("\n") + 1
    assert fault["line"] in {last, last + 1}, "where the text ends"
    assert "before" in fault["message"]
    with path.open("a") as file:
        file.write(whole[cut:])
    live.counted(1)
    live.answers("half.localhost", (200, "two"))
    assert live.program.faults(path) == []
    path.unlink()
    live.counted(1)


def test_a_file_that_is_emptied_first_and_written_later_is_served_all_the_time(live: World) -> None:
    path = live.site.write("emptied.yaml", _text("emptied.localhost", live.one))
    live.counted(1)
    with Steady(live.program, "emptied.localhost", "one"):
        with path.open("w") as file:
            # Whether or not the event of the emptied file comes: now it is read.
            live.program.signal(signal.SIGHUP)
            live.counted(1)
            file.write(_text("emptied.localhost", live.one) + "# the same\n")
        live.counted(1)
    path.unlink()
    live.counted(1)
    live.missing("emptied.localhost")


def test_a_mistake_in_one_object_costs_that_object_alone(live: World) -> None:
    both = _text("kept.localhost", live.one) + "---\n" + _text("other.localhost", live.one)
    path = live.site.write("both.yaml", both)
    live.counted(1)
    wrong = both.replace("pathType: Prefix", "pathType: Prefixed", 1).replace(
        f"port: {live.one.port}}}]\nendpoints", f"port: {live.two.port}}}]\nendpoints"
    )
    manifests.replace(path, wrong)
    live.counted(1)
    # Both slices were edited; of the Ingress with the mistake the last good version is served, with the edited slice.
    live.answers("kept.localhost", (200, "two"))
    live.answers("other.localhost", (200, "two"))
    (fault,) = live.program.faults(path)
    assert (fault["code"], fault["name"]) == ("field_invalid", "kept")
    assert fault["line"] == wrong[: wrong.index("Prefixed")].count("\n") + 1
    path.unlink()
    live.counted(1)


def test_a_broken_file_does_not_hold_up_another_that_is_saved_in_the_same_moment(live: World) -> None:
    broken = live.site.write("broken.yaml", _text("broken.localhost", live.one))
    live.counted(1)
    drafts = [live.site.file(".broken.draft"), live.site.file(".fine.draft")]
    edited = _text("broken.localhost", live.one).replace("'broken.localhost'", "broken-two.localhost")
    drafts[0].write_text(edited.replace("rules:", "rules: ["))
    drafts[1].write_text(_text("fine.localhost", live.two))
    drafts[0].rename(broken)
    fine = drafts[1].rename(live.site.file("fine.yaml"))
    live.counted(1)
    live.answers("fine.localhost", (200, "two"))
    live.answers("broken.localhost", (200, "one"))
    live.missing("broken-two.localhost")
    assert [fault["code"] for fault in live.program.faults(broken)] == ["yaml_syntax"]
    assert live.program.faults(fine) == []
    manifests.replace(broken, edited)
    live.counted(1)
    live.answers("broken-two.localhost", (200, "one"))
    live.missing("broken.localhost")
    assert live.program.faults(broken) == []
    broken.unlink()
    fine.unlink()
    live.counted(1)


def test_a_hundred_edits_in_a_second_are_a_few_reloads_and_the_last_one_counts(live: World) -> None:
    path = live.site.write("busy.yaml", _text("busy.localhost", live.one))
    live.counted(1)
    began = time.monotonic()
    for number in range(100):
        save = _in_place if number % 2 else manifests.replace
        save(path, _text("busy.localhost", live.two if number == 99 else live.one) + f"# {number}\n")
        time.sleep(0.01)  # the pace of whoever saves: a hundred in a second
    live.program.until_answers((200, "two"), host="busy.localhost")
    live.answers("busy.localhost", (200, "two"))
    # Edits that follow each other within SETTLE_MS are one, however slow this machine is.
    most = 1 + (time.monotonic() - began) * 1000 / SETTLE_MS
    reloads = live.program.generation - live.generation
    assert 1 <= reloads <= min(most, 50), live.program.api("reloads")
    live.generation += reloads
    path.unlink()
    live.counted(1)


def test_a_save_that_changes_nothing_is_no_edit(live: World) -> None:
    steady = live.site.file("steady.yaml")
    manifests.replace(steady, steady.read_text())
    os.utime(steady)
    live.site.file("notes.txt").write_text("no manifest")
    live.site.file(".hidden.yaml").write_text("kind: [")
    # What is saved after them is counted next, so they were not.
    path = live.site.write("next.yaml", _text("next.localhost", live.one))
    live.counted(1)
    path.unlink()
    live.counted(1)


def test_sighup_counts_although_nothing_was_edited(live: World) -> None:
    live.program.signal(signal.SIGHUP)
    live.counted(1)
    newest = live.program.api("reloads")[0]
    assert (newest["trigger"], newest["added"], newest["changed"], newest["removed"]) == ("signal", 0, 0, 0)
