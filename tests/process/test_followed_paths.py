"""What is followed for edits: every path of the command line, however it is mounted; and what is read only once."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.support import site as manifests
from tests.support.app import app
from tests.support.certificates import issue
from tests.support.program import running, until
from tests.support.site import Site
from tests.support.steady import Steady

pytestmark = pytest.mark.xdist_group("followed-paths")

ONE = "--workers=1"
"""Who follows is the controller, and test_hot_reload.py looks at what several workers make of it."""


def test_a_folder_that_is_replaced_by_another_is_followed(tmp_path: Path) -> None:
    site, other = Site(tmp_path / "site"), Site(tmp_path / "other")
    with app("one") as one, app("two") as two:
        site.route("a.localhost", one)
        other.route("b.localhost", one)
        with running(tmp_path / "log", str(site.folder), ONE) as program:
            site.folder.rename(tmp_path / "before")
            other.folder.rename(site.folder)
            program.until_answers((200, "one"), host="b.localhost")
            assert program.get()[0] == 404
            site.route("b.localhost", two)
            program.until_answers((200, "two"), host="b.localhost")
            assert program.api("faults") == []


def test_a_mounted_config_map_may_be_all_there_is(tmp_path: Path) -> None:
    """The volume itself is the given folder, and a file of another one is given by name."""
    with app("one") as one, app("two") as two:
        volumes = [tmp_path / "folder", tmp_path / "single"]
        hosts = ["folder.localhost", "single.localhost"]
        for volume, host in zip(volumes, hosts, strict=True):
            manifests.mount(volume, "..2030_01_01", manifests.routed(volume.name, host, one.port))
            (volume / "routes.yaml").symlink_to("..data/routes.yaml")
        with running(tmp_path / "log", str(volumes[0]), str(volumes[1] / "routes.yaml"), ONE) as program:
            generation = 1
            for number, to in enumerate((two, one, two), 2):
                for volume, host in zip(volumes, hosts, strict=True):
                    manifests.mount(volume, f"..2030_01_0{number}", manifests.routed(volume.name, host, to.port))
                    shutil.rmtree(volume / f"..2030_01_0{number - 1}")
                    generation += 1
                    program.until_served(generation)
                    assert program.get(host=host) == (200, to.name)
            assert program.generation == generation
            assert program.api("faults") == []


def test_without_events_the_folder_is_compared(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with app("one") as one, app("two") as two:
        path = site.route("a.localhost", one)
        with (
            running(tmp_path / "log", str(site.folder), ONE, "--no-watch-events", "--poll-interval=0.2") as program,
            Steady(program, "a.localhost", "one"),
        ):
            site.route("b.localhost", two, "b.yaml")
            program.until_served(2)
            assert program.get(host="b.localhost") == (200, "two")
            Site(site.folder / "new").route("c.localhost", two, "c.yaml")
            program.until_served(3)
            assert program.get(host="c.localhost") == (200, "two")
            site.file("b.yaml").unlink()
            program.until_served(4)
            assert program.get(host="b.localhost")[0] == 404
            path.write_text(path.read_text() + "# a remark\n")
            program.until_served(5)
            assert [reload["generation"] for reload in program.api("reloads")] == [5, 4, 3, 2, 1]


def test_files_and_several_folders_are_followed(tmp_path: Path) -> None:
    first, second, single = Site(tmp_path / "first"), Site(tmp_path / "second"), Site(tmp_path / "single")
    with app("one") as one, app("two") as two:
        first.route("first.localhost", one, "f.yaml")
        second.route("second.localhost", one, "s.yaml")
        file = single.route("file.localhost", one, "file.yaml")
        single.route("beside.localhost", one, "beside.yaml")
        paths = [str(first.folder), str(second.folder), str(file)]
        with running(tmp_path / "log", *paths, ONE) as program:
            hosts = [f"{name}.localhost" for name in ("first", "second", "file")]
            assert [program.get(host=host) for host in hosts] == [(200, "one")] * 3
            assert program.get(host="beside.localhost")[0] == 404
            first.route("first.localhost", two, "f.yaml")
            program.until_served(2)
            second.route("second.localhost", two, "s.yaml")
            program.until_served(3)
            single.route("file.localhost", two, "file.yaml")
            program.until_served(4)
            assert [program.get(host=host) for host in hosts] == [(200, "two")] * 3
            file.write_text(file.read_text().replace(str(two.port), str(one.port)))
            program.until_served(5)
            assert program.get(host="file.localhost") == (200, "one")
            single.route("beside.localhost", two, "beside.yaml")
            shutil.rmtree(second.folder)
            until(lambda: program.faults(second.folder), "the fault of the missing folder")
            assert program.get(host="second.localhost") == (200, "two"), "a folder that is gone keeps its routes"
            second.folder.mkdir()
            second.route("back.localhost", one, "s.yaml")
            until(lambda: program.get(host="back.localhost") == (200, "one"), "the folder that is back")
            assert program.get(host="second.localhost")[0] == 404
            assert program.faults(second.folder) == []


def test_strict_is_for_the_start_only(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with app("one") as one:
        path = site.route("a.localhost", one)
        with running(tmp_path / "log", str(site.folder), "--strict", ONE) as program:
            path.write_text("kind: [")
            until(lambda: program.faults(path), "the fault")
            assert program.get() == (200, "one")


def test_settings_are_read_at_the_start_and_never_again(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.write("tls.yaml", manifests.routed("tls", "tls.localhost", 9, secret="pair"))
    site.write("secret.yaml", manifests.secret("pair", issue("tls.localhost")))
    settings = tmp_path / "settings.yaml"
    settings.write_text("https_redirect_port: 1111\n")
    arguments = (str(site.folder), "--https-port=0", f"--settings={settings}", ONE)
    with running(tmp_path / "log", *arguments) as program:
        settings.write_text("https_redirect_port: 2222\n")
        program.signal(signal.SIGHUP)
        program.until_served(2)
        explained = program.api("explain?url=http://tls.localhost/")["outcome"]
        assert explained["headers"]["Location"] == "https://tls.localhost:1111/"
        assert program.get(host="tls.localhost")[0] == 308
