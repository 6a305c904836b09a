"""The state folder: what was good is served when there are no manifests, and nothing that somebody else wrote."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingressd import __version__
from ingressd.compile.compilation import Compilation
from ingressd.errors import StartupError
from ingressd.filters.ssl_redirect import SslRedirect
from ingressd.model.resource_set import ResourceSet
from ingressd.process.fallback import Fallback
from ingressd.process.state_folder import StateFolder
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.route import PREFIX, Route, VirtualHost
from ingressd.table.snapshot import Snapshot
from tests.process.conftest import Backend, Launch
from tests.support.certificates import issue
from tests.support.program import Program, until
from tests.support.site import Site


def _end(program: Program) -> None:
    program.signal(signal.SIGTERM)
    assert program.wait() == 0, program.log
    assert "Traceback" not in program.log


def _stale(program: Program) -> bool:
    """What the two pages say, when they say the same: they are asked one after the other."""
    said: list[bool] = []

    def agree() -> bool:
        stale: bool = program.api("status")["stale"]
        said.append(stale)
        return stale is any(fault["code"] == "state_stale" for fault in program.api("faults"))

    until(agree, "the status and the faults to say the same")
    return said[-1]


def test_without_manifests_the_last_good_table_is_served_until_they_are_back(
    launch: Launch, site: Site, other_backend: Backend, tmp_path: Path
) -> None:
    arguments = str(site.folder), f"--state-dir={tmp_path / 'state'}", "--workers=1"
    away = tmp_path / "away"
    program = launch(*arguments).until_ready()
    assert not _stale(program)
    site.route("a.localhost", other_backend)
    program.until_served(2)
    _end(program)
    kept = tmp_path / "state" / "snapshot"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in kept.parent.iterdir()] == ["snapshot"]

    whole = site.file("site.yaml").read_text()
    before = kept.read_bytes()
    site.write("site.yaml", "kind: [\n")
    program = launch(*arguments).until_ready()
    assert program.get() == (200, "two")
    assert _stale(program)
    assert [route["host"] for route in program.api("routes")] == ["a.localhost"]
    _end(program)
    assert kept.read_bytes() == before, "what is stale is not kept again"

    site.folder.rename(away)
    program = launch(*arguments).until_ready()
    assert program.get() == (200, "two")
    assert _stale(program)
    away.rename(site.folder)
    site.write("site.yaml", whole.replace("a.localhost", "b.localhost"))
    until(lambda: not _stale(program), "the manifests to be served")
    assert program.get(host="b.localhost") == (200, "two")
    assert program.get()[0] == 404
    _end(program)


def test_a_folder_that_was_emptied_while_it_was_served_stays_empty(launch: Launch, site: Site, tmp_path: Path) -> None:
    arguments = str(site.folder), f"--state-dir={tmp_path / 'state'}", "--workers=1"
    program = launch(*arguments).until_ready()
    manifest = site.file("site.yaml")
    whole = manifest.read_text()
    manifest.unlink()
    program.until_served(2)
    _end(program)
    program = launch(*arguments).until_ready()
    assert program.get()[0] == 404
    assert not _stale(program)
    site.write("site.yaml", whole)
    program.until_served(2)
    _end(program)
    # A volume that was not mounted, in contrast.
    manifest.unlink()
    program = launch(*arguments).until_ready()
    assert program.get() == (200, "one")
    assert _stale(program)
    _end(program)


def test_a_folder_that_others_may_enter_is_refused(launch: Launch, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o750)
    program = launch(str(site.folder), f"--state-dir={folder}", "--workers=1")
    assert program.wait() == 1
    assert f"ingressd: the state folder {folder} is open to others, and private keys are kept in it" in program.log
    assert "Traceback" not in program.log


# The folder alone.


@pytest.fixture
def snapshot() -> Snapshot:
    route = Route("id", "a.localhost", "/", PREFIX, "default", "a", "p", "a", "80", "a.yaml", 1, (SslRedirect(443),))
    return Snapshot(
        generation=7,
        hosts={"a.localhost": VirtualHost("a.localhost", (route,), tls=True)},
        pools={"p": Pool("p", "default", "a", "80", (Endpoint("127.0.0.1", 8080),))},
        certificates={"a.localhost": issue("a.localhost")},
    )


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(str(tmp_path / "state"))


def _file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "snapshot"


def test_what_was_saved_is_loaded_with_its_filters_and_keys(folder: StateFolder, snapshot: Snapshot) -> None:
    assert folder.load() is None
    before = datetime.now(UTC).timestamp()
    folder.save(snapshot)
    loaded = folder.load()
    assert loaded is not None
    assert loaded[0] == snapshot
    assert before - 1 < loaded[1] < datetime.now(UTC).timestamp() + 1


class _Evil:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self._path),)


def _sealed(body: bytes) -> bytes:
    return f"ingressd-state 1 {__version__} 1.0 {hashlib.sha256(body).hexdigest()}\n".encode() + body


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "version", "format", "mode", "link", "evil", "other"])
def test_what_is_damaged_or_not_ours_is_ignored_with_a_warning(
    folder: StateFolder, snapshot: Snapshot, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    folder.save(snapshot)
    file = _file(tmp_path)
    data = file.read_bytes()
    match damage:
        case "flipped":
            file.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
        case "cut":
            file.write_bytes(data[:-20])
        case "empty":
            file.write_bytes(b"")
        case "version":
            file.write_bytes(data.replace(__version__.encode(), b"0.0.1", 1))
        case "format":
            file.write_bytes(data.replace(b"ingressd-state 1", b"ingressd-state 2", 1))
        case "mode":
            file.chmod(0o620)
        case "link":
            shutil.move(file, tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case "evil":
            file.write_bytes(_sealed(pickle.dumps(_Evil(tmp_path / "made"))))
        case "other":
            file.write_bytes(_sealed(pickle.dumps({"no": "snapshot"})))
    assert folder.load() is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"the kept snapshot {file} is ignored: " in caplog.text
    assert not (tmp_path / "made").exists()


def test_a_snapshot_that_cannot_be_kept_leaves_the_one_before(
    folder: StateFolder, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    folder.save(snapshot)
    folder.save(Snapshot(8, pools={"p": pytest}))  # type: ignore[dict-item]
    assert "the snapshot was not kept" in caplog.text
    loaded = folder.load()
    assert loaded is not None
    assert loaded[0].generation == 7


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StartupError, match="is not a folder"):
        StateFolder(str(file))
    with pytest.raises(StartupError, match="No such file or directory"):
        StateFolder(str(tmp_path / "missing" / "state"))


async def test_of_several_snapshots_the_last_one_is_kept(folder: StateFolder, snapshot: Snapshot) -> None:
    fallback = Fallback(folder, ["site"])
    for generation in (1, 2, 3):
        fallback.note(Snapshot(generation, snapshot.hosts))
    await fallback.save()
    loaded = folder.load()
    assert loaded is not None
    assert loaded[0].generation == 3


def test_an_empty_table_that_was_kept_is_not_stale(folder: StateFolder) -> None:
    folder.save(Snapshot(1))
    fallback = Fallback(folder, ["site"])
    compilation = Compilation(Snapshot(), (), frozenset())
    assert fallback.stand_in(ResourceSet(), compilation) is compilation
    assert not fallback.stale
