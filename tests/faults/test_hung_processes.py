"""Processes that hang, stopped with SIGSTOP: they are replaced, and traffic goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Backend
from tests.support.program import Program, running, until
from tests.support.site import Site
from tests.support.steady import Steady

CLIENTS = 4
HOST = "a.localhost"


class Hanging:
    """The program behind which processes are stopped."""

    def __init__(self, program: Program, site: Site, backend: Backend) -> None:
        self.program = program
        self.site = site
        self.backend = backend


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hanging]:
    folder: Path = tmp_path_factory.mktemp("hanging")
    backend = Backend("one")
    try:
        site = Site(folder / "site")
        site.route(HOST, backend)
        with running(folder / "log", str(site.folder), "--hang-timeout=1", "--access-log=off") as program:
            yield Hanging(program, site, backend)
    finally:
        backend.close()


class Clients:
    """Ask all the time, each on new connections, one at a time."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._stop = threading.Event()
        self.answers: list[tuple[int, str]] = []
        self.lost: list[OSError] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_more(self, condition: Callable[[], object], what: str) -> None:
        """Wait for `condition`, and for another answer after it."""
        until(condition, what)
        so_far = len(self.answers)
        until(lambda: len(self.answers) > so_far, "another answer")

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(self._program.get(host=HOST))
            except OSError as problem:
                self.lost.append(problem)


def test_a_worker_that_hangs_under_load_is_replaced_and_those_who_wait_for_it_are_served(hanging: Hanging) -> None:
    program = hanging.program
    workers = program.pids()["workers"]
    with Clients(program) as clients:
        clients.until_more(lambda: clients.answers, "an answer")
        os.kill(workers[0], signal.SIGSTOP)
        clients.until_more(lambda: "worker 0 has not answered for 1 s: killed" in program.log, "the end of the worker")
        clients.until_more(
            lambda: len(now := program.pids()["workers"]) == 2 and workers[0] not in now, "another worker"
        )
        until(lambda: program.api("status")["workers"] == 2, "two workers that serve")
    assert set(clients.answers) == {(200, "one")}
    # Those in the backlog wait for the next worker: only what the stopped one had accepted is lost.
    assert len(clients.lost) <= CLIENTS
    assert workers[1] in program.pids()["workers"]


def test_a_controller_that_hangs_is_replaced_and_costs_no_request(hanging: Hanging) -> None:
    program = hanging.program
    controller, workers = program.pids()["controller"], program.pids()["workers"]
    with Steady(program, HOST, "one"):
        os.kill(controller, signal.SIGSTOP)
        until(lambda: "controller has not answered for 1 s: killed" in program.log, "the end of the controller")
        program.until_ready()
        assert program.pids()["controller"] != controller
        assert program.pids()["workers"] == workers
    hanging.site.route("b.localhost", hanging.backend, "second.yaml")
    program.until_answers((200, "one"), host="b.localhost")
