"""Edits of every kind while the program serves: the next request shows them, they count once, nobody else notices."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingressd.sources.events import SETTLE_MS
from ingressd.table.certificate import Certificate
from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.certificates import issue, names_of, trusting
from tests.support.program import PATIENCE_S, Program, running, until
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
    _fill(volume, "..2030_01_01", _text("volume.localhost", live.one))
    (volume / "routes.yaml").symlink_to("..data/routes.yaml")
    live.counted(1)
    live.answers("volume.localhost", (200, "one"))
    _fill(volume, "..2030_01_02", _text("volume.localhost", live.two))
    shutil.rmtree(volume / "..2030_01_01")
    live.counted(1)
    live.answers("volume.localhost", (200, "two"))
    shutil.rmtree(volume)
    live.counted(1)
    live.missing("volume.localhost")


def test_a_mounted_config_map_may_be_all_there_is(tmp_path: Path) -> None:
    """The volume itself is the given folder, and a file of another one is given by name."""
    with app("one") as one, app("two") as two:
        volumes = [tmp_path / "folder", tmp_path / "single"]
        hosts = ["folder.localhost", "single.localhost"]
        for volume, host in zip(volumes, hosts, strict=True):
            _fill(volume, "..2030_01_01", _text(host, one))
            (volume / "routes.yaml").symlink_to("..data/routes.yaml")
        with running(tmp_path / "log", str(volumes[0]), str(volumes[1] / "routes.yaml")) as program:
            generation = 1
            for number, to in enumerate((two, one, two), 2):
                for volume, host in zip(volumes, hosts, strict=True):
                    _fill(volume, f"..2030_01_0{number}", _text(host, to))
                    shutil.rmtree(volume / f"..2030_01_0{number - 1}")
                    generation += 1
                    program.until_served(generation)
                    assert program.get(host=host) == (200, to.name)
            assert program.generation == generation
            assert program.api("faults") == []


def _fill(volume: Path, version: str, text: str) -> None:
    """One version of a mounted ConfigMap, as the kubelet writes it: a folder, a link, a rename over the old link."""
    (volume / version).mkdir(parents=True)
    (volume / version / "routes.yaml").write_text(text)
    (volume / "..data_tmp").symlink_to(version)
    (volume / "..data_tmp").rename(volume / "..data")


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


# Certificates.


class TlsClient:
    """A connection by HTTPS that is kept."""

    def __init__(self, program: Program, host: str) -> None:
        plain = socket.create_connection(("127.0.0.1", program.port("https")), timeout=PATIENCE_S)
        self._host = host
        self._socket = trusting().wrap_socket(plain, server_hostname=host)
        self.names = names_of(self._socket)
        certificate = self._socket.getpeercert(binary_form=True)
        assert certificate is not None
        self.certificate = ssl.DER_cert_to_PEM_cert(certificate).encode()

    def get(self) -> bytes:
        self._socket.sendall(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith((b"one", b"two")):
            data = self._socket.recv(65536)
            assert data, answer
            answer += data
        return answer

    def close(self) -> None:
        self._socket.close()


def _shown(program: Program, host: str) -> bytes:
    """The certificate that a new client sees."""
    client = TlsClient(program, host)
    client.close()
    return client.certificate


def _leaf(certificate: Certificate) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return certificate.chain_pem[: certificate.chain_pem.index(end) + len(end)]


def test_a_new_secret_is_shown_to_new_clients_and_costs_old_ones_nothing(live: World) -> None:
    old, new = (issue("secret.localhost") for _ in range(2))
    routes = live.site.write(
        "secret-route.yaml", manifests.routed("secret", "secret.localhost", live.one.port, secret="pair")
    )
    path = live.site.write("secret.yaml", manifests.secret("pair", old))
    live.counted(1)
    before = TlsClient(live.program, "secret.localhost")
    assert before.certificate == _leaf(old)
    assert before.get().startswith(b"HTTP/1.1 200 OK\r\n")
    manifests.replace(path, manifests.secret("pair", new))
    live.counted(1)
    for _ in range(ENOUGH):
        assert _shown(live.program, "secret.localhost") == _leaf(new)
    assert before.get().startswith(b"HTTP/1.1 200 OK\r\n")
    # One that cannot be used leaves the one before.
    manifests.replace(path, manifests.secret("pair", new).replace("tls.key:", "tls.other:"))
    live.counted(1)
    assert _shown(live.program, "secret.localhost") == _leaf(new)
    assert [fault["severity"] for fault in live.program.faults(path)] == ["error"]
    assert before.get().startswith(b"HTTP/1.1 200 OK\r\n")
    before.close()
    path.unlink()
    routes.unlink()
    live.counted(1)


class PemFiles:
    """A certificate and its key, on disk."""

    def __init__(self, folder: Path, name: str) -> None:
        self._chain, self._key = folder / f"{name}.crt", folder / f"{name}.key"
        self.option = f"{self._chain}:{self._key}"

    def write(self, certificate: Certificate) -> Certificate:
        for path, pem in ((self._chain, certificate.chain_pem), (self._key, certificate.key_pem)):
            manifests.replace(path, pem.decode())
        return certificate


def test_certificate_files_are_followed(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    named, default = PemFiles(tmp_path, "named"), PemFiles(tmp_path, "default")
    first = named.write(issue("named.localhost")), default.write(issue("anything.localhost"))
    options = (f"--certificate={named.option}", f"--default-certificate={default.option}")
    with (
        app("one") as one,
        running(tmp_path / "log", str(site.folder), "--https-port=0", "--poll-interval=0.1", *options) as program,
    ):
        site.route("named.localhost", one)
        program.until_answers((200, "one"), host="named.localhost")
        kept = TlsClient(program, "named.localhost")
        assert kept.certificate == _leaf(first[0])
        assert _shown(program, "other.localhost") == _leaf(first[1])
        second = named.write(issue("named.localhost")), default.write(issue("anything.localhost"))
        until(lambda: _shown(program, "named.localhost") == _leaf(second[0]), "the new certificate")
        until(lambda: _shown(program, "other.localhost") == _leaf(second[1]), "the new default certificate")
        for _ in range(ENOUGH):
            assert _shown(program, "named.localhost") == _leaf(second[0])
        assert kept.get().startswith(b"HTTP/1.1 200 OK\r\n")
        kept.close()
        assert "certificates" in {reload["trigger"] for reload in program.api("reloads")}
        assert [fault for fault in program.api("faults") if fault["severity"] == "error"] == []


# What is given on the command line.


def test_without_events_the_folder_is_compared(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with app("one") as one, app("two") as two:
        path = site.route("a.localhost", one)
        with (
            running(tmp_path / "log", str(site.folder), "--no-watch-events", "--poll-interval=0.2") as program,
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
        with running(tmp_path / "log", *paths) as program:
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
        with running(tmp_path / "log", str(site.folder), "--strict") as program:
            path.write_text("kind: [")
            until(lambda: program.faults(path), "the fault")
            assert program.get() == (200, "one")


def test_settings_are_read_at_the_start_and_never_again(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.write("tls.yaml", manifests.routed("tls", "tls.localhost", 9, secret="pair"))
    site.write("secret.yaml", manifests.secret("pair", issue("tls.localhost")))
    settings = tmp_path / "settings.yaml"
    settings.write_text("https_redirect_port: 1111\n")
    arguments = (str(site.folder), "--https-port=0", f"--settings={settings}")
    with running(tmp_path / "log", *arguments) as program:
        settings.write_text("https_redirect_port: 2222\n")
        program.signal(signal.SIGHUP)
        program.until_served(2)
        explained = program.api("explain?url=http://tls.localhost/")["outcome"]
        assert explained["headers"]["Location"] == "https://tls.localhost:1111/"
        assert program.get(host="tls.localhost")[0] == 308
