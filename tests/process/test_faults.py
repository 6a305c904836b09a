"""Faults while traffic flows: killed, stopped and dying processes, storms of signals, logs that nobody takes."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Backend, Launch
from tests.process.lasting import World, lasting_world
from tests.support.metrics import sample
from tests.support.program import PATIENCE_S, ROOT, Program, until
from tests.support.site import Site
from tests.support.steady import Steady


def _count(program: Program, words: str) -> int:
    return program.log.count(words)


def _until_logged(program: Program, words: str, times: int = 1) -> None:
    until(lambda: _count(program, words) >= times, f"{words!r} in the log")


# Killed.


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lasting_world(tmp_path_factory.mktemp("lasting")) as world:
        yield world


@pytest.fixture
def world(lasting: World) -> Iterator[World]:
    """At its end a.localhost leads to the first backend again."""
    file = lasting.site.file("site.yaml")
    whole = file.read_text()
    yield lasting
    if file.read_text() != whole:
        generation = lasting.program.generation
        lasting.site.write("site.yaml", whole)
        lasting.program.until_served(generation + 1)


def test_of_a_killed_worker_only_the_requests_in_its_hands_are_lost(world: World) -> None:
    program = world.program
    generation = program.generation
    killed, other = program.pids()["workers"]
    lost = served = 0
    os.kill(killed, signal.SIGKILL)
    while served < 100:
        # What waits in the queue of the killed one is not lost: its successor accepts it.
        try:
            assert program.get() == (200, "one")
            served += 1
        except OSError:
            lost += 1
    assert lost <= 1
    until(lambda: program.api("status")["workers"] == 2, "two serving workers")
    assert killed not in program.pids()["workers"]
    assert other in program.pids()["workers"]
    world.site.route("a.localhost", world.two)
    program.until_served(generation + 1)
    with Steady(program, "a.localhost", "two") as clients:
        until(lambda: clients.answers >= 50, "answers of both workers")


def test_without_a_controller_traffic_flows_and_the_next_one_takes_what_was_edited_meanwhile(world: World) -> None:
    program = world.program
    generation = program.generation
    controller = program.pids()["controller"]
    with Steady(program, "a.localhost", "one"):
        os.kill(controller, signal.SIGSTOP)
        world.site.route("b.localhost", world.two, "second.yaml")
        os.kill(controller, signal.SIGKILL)
        program.until_answers((200, "two"), host="b.localhost")
        program.until_served(generation + 1)
    assert program.pids()["controller"] != controller


# Signals.


def test_fifty_sighups_in_a_row_cost_nothing_and_the_last_edit_counts(
    launch: Launch, site: Site, other_backend: Backend
) -> None:
    program = launch(str(site.folder), "--no-watch-events", "--poll-interval=3600").until_ready()
    before = program.pids()
    with Steady(program, "a.localhost", "one"):
        for number in range(50):
            site.route(f"{number}.localhost", other_backend, "second.yaml")
            program.signal(signal.SIGHUP)
        program.until_answers((200, "two"), host="49.localhost")
    assert program.get(host="48.localhost")[0] == 404
    assert program.pids() == before
    assert "Traceback" not in program.log


def test_a_stopped_worker_holds_up_only_its_own_clients_and_catches_up(world: World) -> None:
    program = world.program
    generation = program.generation
    stopped, other = program.pids()["workers"]
    with contextlib.ExitStack() as stack:
        connections = (socket.create_connection(("127.0.0.1", program.port("http"))) for _ in range(16))
        clients = [stack.enter_context(connection) for connection in connections]
        os.kill(stopped, signal.SIGSTOP)
        stack.callback(os.kill, stopped, signal.SIGCONT)
        world.site.route("a.localhost", world.two)
        until(lambda: b"two" in {_answer(client, 0.2) for client in clients}, "the edit on the other worker")
        assert program.api("status")["generation"] == generation, "not every worker serves the edit"
    program.until_served(generation + 1)
    # What it was late for has to be over first: a worker that lags sheds what is new.
    until(lambda: [program.get() for _ in range(20)] == [(200, "two")] * 20, "both workers to serve the edit")
    assert program.pids()["workers"] == [stopped, other]


def _answer(client: socket.socket, patience_s: float) -> bytes:
    """The last bytes of the answer to one more request; nothing if there is none in time."""
    client.settimeout(patience_s)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
    try:
        return client.recv(65536)[-3:]
    except TimeoutError:
        return b""


def test_a_stopped_worker_does_not_keep_the_program_from_ending(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder), "--drain-timeout=600").until_ready()
    os.kill(program.pids()["workers"][0], signal.SIGSTOP)
    program.signal(signal.SIGTERM)
    _until_logged(program, "SIGTERM: draining")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "SIGTERM again: stopping now" in program.log
    assert "worker 0 did not end in time: killed" in program.log


def test_sigterm_while_it_starts_ends_it_cleanly(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder))
    _until_logged(program, "listening on")
    program.signal(signal.SIGUSR2)
    _until_logged(program, "SIGUSR2: not yet, the program is still starting")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "Traceback" not in program.log
    assert "failed" not in program.log


# Children that die at once.


def test_a_worker_that_dies_at_once_is_started_ever_more_seldom(launch: Launch, site: Site, tmp_path: Path) -> None:
    package = tmp_path / "lib" / "ingressd"
    shutil.copytree(ROOT / "ingressd", package)
    environ = {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"}
    program = launch(str(site.folder), environ=environ).until_ready()
    worker = package / "process" / "worker.py"
    whole = worker.read_text()
    future = "from __future__ import annotations\n"
    worker.write_text(whole.replace(future, f"{future}raise SystemExit(7)\n"))
    os.kill(program.pids()["workers"][0], signal.SIGKILL)
    for delay in ("0.1", "0.2", "0.4"):
        _until_logged(program, f"starting it again in {delay} s")
    assert "worker 0 ended: exit code 7; starting it again in 0.2 s" in program.log
    assert program.api("status")["workers"] == 1
    worker.write_text(whole)
    until(lambda: program.api("status")["workers"] == 2, "a worker that lives")


_PR_SET_CHILD_SUBREAPER = 36


def test_orphans_of_others_are_reaped(site: Site, tmp_path: Path) -> None:
    """As PID 1 of a container, it inherits the children of processes that have ended."""
    leave, pid_file = tmp_path / "leave", tmp_path / "orphan"
    os.mkfifo(leave)
    script = (
        "import ctypes, os, sys\n"
        f"ctypes.CDLL(None).prctl({_PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0)\n"
        "leave, pid_file, *arguments = sys.argv[1:]\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        open(pid_file, 'w').write(str(os.getpid()))\n"
        "        open(leave).read()\n"
        "    os._exit(0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'ingressd', 'run', *arguments])\n"
    )
    log = tmp_path / "log"
    arguments = [str(site.folder), "--http-port=0", "--https-port=off", "--admin-port=off", "--workers=1"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(leave), str(pid_file), *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        until(lambda: "serves after start" in log.read_text(), "the start")
        orphan = Path("/proc", pid_file.read_text())
        parents = (orphan / "stat").read_text().rpartition(")")[2].split()
        assert parents[1] == str(process.pid)
        leave.write_text("")
        until(lambda: not orphan.exists(), "the orphan to be reaped")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2, "the first child, too"
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text()


class Contained(Program):
    """PID 1 of a PID namespace, as in a container. `process` is unshare(1), outside."""

    def __init__(self, log: Path, arguments: list[str]) -> None:
        self._log = log
        self._ports = {}
        given = ["--bind=127.0.0.1", "--http-port=0", "--https-port=off", "--admin-port=0", "--workers=2"]
        unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if os.geteuid() != 0:
            unshare.append("--map-root-user")
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*unshare, sys.executable, "-m", "ingressd", "run", *given, "--log-format=text", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    @property
    def inner(self) -> int:
        """What is PID 1 inside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])


@pytest.fixture
def contained(site: Site, tmp_path: Path) -> Iterator[Contained]:
    program = Contained(tmp_path / "log", [str(site.folder)])
    yield program
    program.kill()


def test_as_pid_1_it_is_upgraded_in_place_and_ends_by_sigterm(contained: Contained) -> None:
    contained.until_ready()
    before = contained.pids()
    assert before["supervisor"] == 1
    inner = contained.inner
    with Steady(contained, "a.localhost", "one") as clients:
        asked = clients.answers
        os.kill(inner, signal.SIGHUP)
        until(lambda: clients.answers > asked, "answers")
    os.kill(inner, signal.SIGUSR2)
    _until_logged(contained, "the upgrade is over")
    after = contained.pids()
    assert after["supervisor"] == 1
    assert contained.inner == inner
    assert not {before["controller"], *before["workers"]} & {after["controller"], *after["workers"]}
    assert contained.get() == (200, "one")
    os.kill(inner, signal.SIGTERM)
    assert contained.wait() == 0, contained.log


# Logs that nobody takes.


@pytest.mark.parametrize("sink", ["full disk", "unread pipe"])
def test_a_log_that_takes_nothing_leaves_traffic_alone_and_is_counted(
    launch: Launch, site: Site, tmp_path: Path, sink: str
) -> None:
    reader = None
    if sink == "full disk":
        path = Path("/dev/full")
    else:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        program = launch(str(site.folder), f"--access-log={path}", "--workers=1").until_ready()
        client = http.client.HTTPConnection("127.0.0.1", program.port("http"), timeout=PATIENCE_S)
        sent = 0
        while sample(program, "ingressd_access_log_dropped_total") == 0:
            for _ in range(100):
                client.request("GET", "/" + "x" * 15_000, headers={"Host": "no.localhost"})
                assert client.getresponse().read()
            sent += 100
        client.close()
        assert sample(program, "ingressd_access_log_dropped_total") <= sent
        with Steady(program, "a.localhost", "one"):
            until(lambda: program.api("status")["ready"], "the admin port")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    finally:
        if reader is not None:
            os.close(reader)
