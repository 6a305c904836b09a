"""Upgrades in place: the same process and sockets, new children, no request lost, and a way back."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.conftest import Backend, Launch
from tests.support.program import PATIENCE_S, ROOT, Program, ask, start, until
from tests.support.site import Site

_SERVES = "the new version serves; the old processes drain"
_ENDED = "the upgrade is over: the processes of one version are left"
_GIVEN_UP = "the upgrade was given up: "
_FUTURE = "from __future__ import annotations"


class Load:
    """Clients that behave: some keep their connection as long as they are told, some open one for each request."""

    def __init__(self, port: int, kept: int = 4, anew: int = 1) -> None:
        self._port = port
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.answers = 0
        self._threads = [threading.Thread(target=self._keep) for _ in range(kept)]
        self._threads += [threading.Thread(target=self._anew) for _ in range(anew)]

    def _keep(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        while not self._stop.wait(0.002):
            try:
                connection.request("GET", "/", headers={"Host": "a.localhost"})
                response = connection.getresponse()
                self._take((response.status, response.read().decode()))
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(repr(problem))
                connection.close()
        connection.close()

    def _anew(self) -> None:
        while not self._stop.wait(0.002):
            try:
                self._take(ask(self._port, "/", "a.localhost"))
            except OSError as problem:
                self.failures.append(repr(problem))

    def _take(self, answer: tuple[int, str]) -> None:
        self.answers += 1
        if answer != (200, "one"):
            self.failures.append(repr(answer))

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def _children(pids: dict[str, Any]) -> set[int]:
    return {pids["controller"], *pids["workers"]}


def _until_logged(program: Program, words: str, times: int = 1) -> None:
    def logged() -> bool:
        assert program.process.poll() is None, program.log
        return program.log.count(words) >= times

    until(logged, f"{words!r} in the log")


def _upgrade(program: Program, times: int = 1) -> None:
    program.signal(signal.SIGUSR2)
    _until_logged(program, _SERVES, times)


class Installation:
    """A copy of the program that can be replaced while it runs."""

    def __init__(self, folder: Path) -> None:
        self._package = folder / "ingressd"
        shutil.copytree(ROOT / "ingressd", self._package)
        self.environ = {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}

    def edit(self, module: str, old: str, new: str) -> None:
        """Another version, in which a module has one more line."""
        path = self._package / module
        text = path.read_text()
        assert text.count(f"{old}\n") == 1
        path.write_text(text.replace(f"{old}\n", f"{old}\n{new}\n"))

    def mend(self, module: str) -> None:
        """The module as it was."""
        shutil.copy2(ROOT / "ingressd" / module, self._package / module)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "lib")


def test_an_upgrade_under_load_loses_no_request(
    launch: Launch, site: Site, installation: Installation, backend: Backend, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    program = launch(str(site.folder), f"--pid-file={pid_file}", environ=installation.environ).until_ready()
    before = program.pids()
    slow: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: slow.append(program.get("/slow")))
    asking.start()
    assert backend.entered.wait(PATIENCE_S)
    installation.edit("process/view.py", _FUTURE, "import ingressd; ingressd.__version__ = '9.9.9'")
    with Load(program.port("http")).running() as load:
        told = subprocess.run(
            [sys.executable, "-m", "ingressd", "upgrade", f"--pid-file={pid_file}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        _until_logged(program, _SERVES)
        until(lambda: program.api("status")["version"] == "9.9.9", "the admin port of the new version")
        assert slow == [], "the old worker waits for what is in flight"
        backend.release.set()
        _until_logged(program, _ENDED)
        served = load.answers
        until(lambda: load.answers > served + 50, "answers of the new version alone")
    asking.join()
    assert load.failures == []
    assert slow == [(200, "one")]
    after = program.pids()
    assert (
        told.stdout == f"process {program.process.pid} was asked to upgrade; its log says when the new version serves\n"
    )
    assert after["supervisor"] == before["supervisor"] == program.process.pid
    assert not _children(before) & _children(after)
    assert all(_gone(pid) for pid in _children(before))
    assert program.api("status")["workers"] == 2
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not pid_file.exists()
    assert "Traceback" not in program.log


def test_edits_and_the_count_of_generations_go_on(launch: Launch, site: Site, other_backend: Backend) -> None:
    program = launch(str(site.folder)).until_ready()
    site.route("b.localhost", other_backend, "second.yaml")
    program.until_served(2)
    readiness: list[int] = []
    cut: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.01):
            try:
                readiness.append(program.admin("/readyz")[0])
            except ConnectionError as problem:
                cut.append(repr(problem))

    looking = threading.Thread(target=look)
    looking.start()
    _upgrade(program)
    stop.set()
    looking.join()
    assert set(readiness) == {200}, "it is ready at every moment"
    # A connection that the old controller has just accepted when it ends is closed before its request is read.
    assert len(cut) <= 1, cut
    assert not any("Refused" in problem for problem in cut)
    assert program.api("status")["generation"] == 2
    site.route("a.localhost", other_backend)
    program.until_served(3)
    assert program.get() == (200, "two")
    _until_logged(program, _ENDED)
    _upgrade(program, times=2)
    assert program.get() == (200, "two")
    assert program.api("status")["generation"] == 3


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Installation]]:
    """A program that goes on, whatever is tried, and where it is installed."""
    folder = tmp_path_factory.mktemp("lasting")
    installation, backend = Installation(folder / "lib"), Backend("one")
    site = Site(folder / "site")
    site.route("a.localhost", backend)
    program = start(folder / "log", str(site.folder), environ=installation.environ)
    try:
        yield program.until_ready(), installation
    finally:
        program.kill()
        backend.close()


@pytest.mark.parametrize(
    ("module", "old", "new", "reason"),
    [
        ("supervisor", _FUTURE, "raise SystemExit(3)", "the trial of the new version: exit code 3"),
        ("worker", _FUTURE, "raise SystemExit(3)", "failed: exit code 3; the old version goes on"),
        ("controller", _FUTURE, "raise SystemExit(3)", "the controller failed: exit code 3; the old version goes on"),
        ("handover", "FORMAT = 1", "FORMAT = 2", "this version cannot take over: it reads format 2, not 1"),
    ],
)
def test_a_version_that_does_not_work_leaves_the_old_one_serving(
    lasting: tuple[Program, Installation], module: str, old: str, new: str, reason: str
) -> None:
    program, installation = lasting
    before = program.pids()
    said, given_up, ended = len(program.log), program.log.count(_GIVEN_UP), program.log.count(_ENDED)
    installation.edit(f"process/{module}.py", old, new)
    with Load(program.port("http"), kept=1, anew=1).running() as load:
        program.signal(signal.SIGUSR2)
        _until_logged(program, _GIVEN_UP, given_up + 1)
    installation.mend(f"process/{module}.py")
    assert load.failures == []
    assert reason in program.log[said:]
    assert program.pids() == before
    assert program.get() == (200, "one")
    assert _SERVES not in program.log
    if module in {"worker", "controller"}:
        # Its crew was started already.
        _until_logged(program, _ENDED, ended + 1)


def test_a_version_that_is_not_ready_in_time_is_given_up_and_may_try_again(
    launch: Launch, site: Site, other_backend: Backend, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("upgrade_timeout: 0.001\n")
    program = launch(str(site.folder), f"--settings={settings}").until_ready()
    before = program.pids()
    program.signal(signal.SIGUSR2)
    _until_logged(program, f"{_GIVEN_UP}it was not ready within 0.001 s; the old version goes on")
    _until_logged(program, _ENDED)
    assert program.pids() == before
    # The old crew is looked after as before.
    os.kill(before["workers"][0], signal.SIGKILL)
    until(lambda: len(set(program.pids()["workers"]) - set(before["workers"])) == 1, "another worker")
    site.route("a.localhost", other_backend)
    program.until_served(2)
    settings.write_text("upgrade_timeout: 60\n")
    _upgrade(program)
    assert program.get() == (200, "two")


def test_settings_are_read_anew_and_wrong_ones_change_nothing(launch: Launch, site: Site, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("drain_timeout: 5\n")
    program = launch(str(site.folder), f"--settings={settings}").until_ready()
    settings.write_text("drain_timeout: soon\n")
    program.signal(signal.SIGUSR2)
    _until_logged(program, f"{_GIVEN_UP}the trial of the new version: exit code 2")
    assert f"{settings}:1:1: drain_timeout" in program.log
    settings.write_text(f"access_log: {tmp_path}/missing/log\n")
    program.signal(signal.SIGUSR2)
    _until_logged(program, "failed: exit code 3; the old version goes on")
    assert f"cannot write the access log {tmp_path}/missing/log: No such file or directory" in program.log
    settings.write_text("workers: 3\n")  # the flag beats it
    _until_logged(program, _ENDED)
    _upgrade(program)
    assert program.get() == (200, "one")


def test_a_port_that_changed_is_opened_and_the_old_one_closed(site: Site, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    lines = "bind: 127.0.0.1\nhttps_port: off\nadmin_port: 0\nlog_format: text\nhttp_port: "
    with socket.create_server(("127.0.0.1", 0)) as busy:
        settings.write_text(f"{lines}0\nworkers: 2\n")
        program = Program(tmp_path / "log", ["--settings", str(settings), str(site.folder)], {})
        try:
            program.until_ready()
            old = program.port("http")
            settings.write_text(f"{lines}{busy.getsockname()[1]}\nworkers: 1\n")
            program.signal(signal.SIGUSR2)
            _until_logged(program, "address already in use")
            assert program.get() == (200, "one")
            assert program.api("status")["workers"] == 2
            new = busy.getsockname()[1]
            busy.close()
            _upgrade(program)
            assert ask(new, "/", "a.localhost") == (200, "one")
            until(lambda: _refused(old), "the old port to be closed")
            until(lambda: program.api("status")["workers"] == 1, "the number of workers that is set now")
        finally:
            program.kill()


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_in_the_middle_ends_both_versions(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder)).until_ready()
    before = _children(program.pids())
    program.signal(signal.SIGUSR2)
    _until_logged(program, "trying the new version")
    program.signal(signal.SIGUSR2)
    _until_logged(program, "an upgrade is under way already")
    _until_logged(program, "listening on", times=2)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert all(_gone(pid) for pid in before)
    assert "Traceback" not in program.log


def test_signals_that_come_while_it_is_replaced_wait_for_the_new_version(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder)).until_ready()
    program.signal(signal.SIGUSR2)
    stop = threading.Event()

    def nag() -> None:
        while not stop.wait(0.002):
            program.signal(signal.SIGUSR1)

    nagging = threading.Thread(target=nag)
    nagging.start()
    _until_logged(program, _SERVES)
    stop.set()
    nagging.join()
    assert program.get() == (200, "one")


def test_the_new_version_still_demands_the_admin_token(launch: Launch, site: Site) -> None:
    token = "A" * 32
    program = launch(str(site.folder), environ={"INGRESSD_ADMIN_TOKEN": token})
    until(lambda: program.admin("/readyz")[0] == 200, "readiness")
    program.signal(signal.SIGUSR2)
    _until_logged(program, _ENDED)
    assert program.admin("/api/v1/status")[0] == 401
    connection = http.client.HTTPConnection("127.0.0.1", program.port("admin"), timeout=PATIENCE_S)
    connection.request("GET", "/api/v1/status", headers={"Authorization": f"Bearer {token}"})
    assert connection.getresponse().status == 200
    connection.close()


def test_upgrade_tells_nobody_but_an_ingressd(tmp_path: Path) -> None:
    stale = tmp_path / "pid"
    stale.write_text(f"{os.getpid()}\n")
    empty = tmp_path / "empty"
    empty.write_text("")
    for arguments, words in (
        (["--pid", str(os.getpid())], f"process {os.getpid()} is not an ingressd: nothing was sent to it"),
        (["--pid-file", str(stale)], f"process {os.getpid()} is not an ingressd: nothing was sent to it"),
        (["--pid-file", str(empty)], "there is no process id in this file"),
        ([], "which ingressd?"),
        (["--pid", "1", "--pid-file", str(stale)], "name either --pid or --pid-file"),
    ):
        told = subprocess.run(
            [sys.executable, "-m", "ingressd", "upgrade", *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert told.returncode == 2
        assert re.fullmatch(r"ingressd: [^\n]+\n", told.stderr)
        assert words in told.stderr


def test_the_pid_file_of_another_ingressd_is_not_taken(launch: Launch, site: Site, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    first = launch(str(site.folder), f"--pid-file={pid_file}").until_ready()
    assert pid_file.read_text() == f"{first.process.pid}\n"
    second = launch(str(site.folder), f"--pid-file={pid_file}")
    assert second.wait() == 1
    assert (
        f"the PID file {pid_file} is that of another ingressd, which runs as process {first.process.pid}" in second.log
    )
    first.signal(signal.SIGKILL)
    first.wait()
    third = launch(str(site.folder), f"--pid-file={pid_file}").until_ready()
    assert pid_file.read_text() == f"{third.process.pid}\n"
