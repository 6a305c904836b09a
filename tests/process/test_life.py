"""The program's life: readiness, edits, crashes of any process, and its end."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Backend, Launch
from tests.process.lasting import World, lasting_world
from tests.support.program import PATIENCE_S, Program, until
from tests.support.site import Site


def _alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lasting_world(tmp_path_factory.mktemp("lasting")) as world:
        yield world


@pytest.fixture
def world(lasting: World) -> Iterator[World]:
    """At its end a.localhost leads to the first backend again, and nothing else is there."""
    program, site = lasting.program, lasting.site
    first, second = site.file("site.yaml"), site.file("second.yaml")
    whole = first.read_text()
    yield lasting
    # One after the other, so that each counts.
    generation = program.generation
    if second.exists():
        second.unlink()
        program.until_served(generation := generation + 1)
    if first.read_text() != whole:
        site.write("site.yaml", whole)
        program.until_served(generation + 1)


def test_ready_means_that_every_worker_serves(lasting: World) -> None:
    program = lasting.program
    assert program.get() == (200, "one")
    assert program.get(host="other.localhost")[0] == 404
    status = program.api("status")
    assert (status["generation"], status["workers"], status["ready"]) == (1, 2, True)
    assert status["listeners"] == {"http": program.port("http"), "admin": program.port("admin")}
    assert status["applied_at"].endswith("Z")
    assert len(program.pids()["workers"]) == 2
    assert program.pids()["supervisor"] == program.process.pid


def test_an_edit_shows_and_counts_once(world: World) -> None:
    program, site = world.program, world.site
    before = program.generation
    site.route("a.localhost", world.two)
    program.until_served(before + 1)
    assert program.get() == (200, "two")
    site.route("b.localhost", world.one, "second.yaml")
    program.until_served(before + 2)
    assert program.get(host="b.localhost") == (200, "one")
    assert program.api("status")["generation"] == before + 2
    newest = program.api("reloads")[0]
    assert (newest["generation"], newest["trigger"], newest["added"]) == (before + 2, "edit", 1)
    assert [reload["generation"] for reload in program.api("reloads")] == [*range(before + 2, 0, -1)]


def test_an_edit_that_changes_no_route_counts_too(world: World) -> None:
    program, site = world.program, world.site
    before = program.generation
    (site.folder / "site.yaml").write_text((site.folder / "site.yaml").read_text() + "\n# a remark\n")
    program.until_served(before + 1)
    newest = program.api("reloads")[0]
    assert (newest["added"], newest["changed"], newest["removed"]) == (0, 0, 0)
    assert program.get() == (200, "one")


def test_a_killed_worker_is_replaced_and_follows_later_edits(world: World) -> None:
    program = world.program
    before = program.generation
    killed = program.pids()["workers"][0]
    os.kill(killed, signal.SIGKILL)
    until(
        lambda: len(workers := program.pids()["workers"]) == 2 and killed not in workers, "a replacement of the worker"
    )
    until(lambda: program.api("status")["workers"] == 2, "two serving workers")
    for _ in range(20):
        assert program.get() == (200, "one")
    world.site.route("a.localhost", world.two)
    program.until_served(before + 1)
    for _ in range(20):
        assert program.get() == (200, "two")


def test_a_killed_controller_costs_no_request_and_its_successor_goes_on(world: World) -> None:
    program, site = world.program, world.site
    before = program.generation + 1
    site.route("b.localhost", world.two, "second.yaml")
    program.until_served(before)
    killed = program.pids()["controller"]
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        while not stop.is_set():
            answers.append(program.get())

    asking = threading.Thread(target=ask)
    asking.start()
    os.kill(killed, signal.SIGKILL)
    until(lambda: program.pids()["controller"] != killed, "another controller")
    program.until_ready()
    stop.set()
    asking.join()
    assert set(answers) == {(200, "one")}
    assert program.api("status")["generation"] == before
    site.route("a.localhost", world.two)
    program.until_served(before + 1)
    assert program.get() == (200, "two")
    assert program.api("status")["generation"] == before + 1


def test_an_edit_made_while_the_controller_is_dead_counts(world: World) -> None:
    program = world.program
    before = program.generation
    controller = program.pids()["controller"]
    os.kill(controller, signal.SIGSTOP)
    world.site.route("a.localhost", world.two)
    os.kill(controller, signal.SIGKILL)
    program.until_served(before + 1)
    assert program.get() == (200, "two")
    assert program.api("status")["generation"] == before + 1


def test_workers_of_a_dead_supervisor_end(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder)).until_ready()
    pids = program.pids()
    port = program.port("http")
    program.signal(signal.SIGKILL)
    program.wait()
    for pid in (pids["controller"], *pids["workers"]):
        until(lambda pid=pid: not _alive(pid), f"the end of process {pid}")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


# The end.


def test_sigterm_finishes_what_is_in_flight(launch: Launch, site: Site, backend: Backend) -> None:
    program = launch(str(site.folder)).until_ready()
    pids = program.pids()
    port = program.port("http")
    answers: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answers.append(program.get("/slow")))
    asking.start()
    assert backend.entered.wait(PATIENCE_S)
    program.signal(signal.SIGTERM)
    until(lambda: program.admin("/readyz") == (503, "draining\n"), "readiness to end")
    assert program.admin("/healthz")[0] == 200
    until(lambda: _refused(port), "the port to be closed")
    backend.release.set()
    asking.join()
    assert answers == [(200, "one")]
    assert program.wait() == 0
    for pid in (pids["controller"], *pids["workers"]):
        assert not _alive(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_program_ends_at_once(launch: Launch, site: Site, number: int) -> None:
    program = launch(str(site.folder), "--drain-timeout=600").until_ready()
    program.signal(number)
    assert program.wait() == 0


def test_the_drain_timeout_cuts_what_does_not_end(launch: Launch, site: Site, backend: Backend) -> None:
    program = launch(str(site.folder), "--drain-timeout=0.2", "--workers=1").until_ready()
    _start_slow(program, backend)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


def test_a_second_sigterm_stops_now(launch: Launch, site: Site, backend: Backend) -> None:
    program = launch(str(site.folder), "--drain-timeout=600").until_ready()
    _start_slow(program, backend)
    program.signal(signal.SIGTERM)
    until(lambda: program.admin("/readyz")[0] == 503, "readiness to end")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


def _start_slow(program: Program, backend: Backend) -> None:
    """A request that is never answered; its client does not care."""

    def ask() -> None:
        try:
            program.get("/slow")
        except OSError:
            return

    threading.Thread(target=ask, daemon=True).start()
    assert backend.entered.wait(PATIENCE_S)


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


# Signals that do not end it.


def test_sighup_reads_everything_again_and_reopens_the_access_log(
    launch: Launch, site: Site, other_backend: Backend, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    program = launch(str(site.folder), "--no-watch-events", "--poll-interval=3600", f"--access-log={log}").until_ready()
    program.get("/first")
    until(lambda: "/first" in log.read_text(), "the first line of the access log")
    log.rename(tmp_path / "access.log.1")
    site.route("a.localhost", other_backend)
    program.signal(signal.SIGHUP)
    program.until_served(2)
    assert program.get("/second") == (200, "two")
    until(lambda: log.exists() and "/second" in log.read_text(), "the new access log")
    assert "/second" not in (tmp_path / "access.log.1").read_text()
    assert program.api("reloads")[0]["trigger"] == "signal"


def test_sigusr1_reopens_the_access_log_alone(launch: Launch, site: Site, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    program = launch(str(site.folder), f"--access-log={log}").until_ready()
    log.rename(tmp_path / "access.log.1")
    program.signal(signal.SIGUSR1)
    until(log.exists, "the new access log")
    assert program.api("status")["generation"] == 1
