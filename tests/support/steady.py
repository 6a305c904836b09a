"""Steady: clients that ask for one thing all the time, while something else happens."""

from __future__ import annotations

import http.client
import threading
from types import TracebackType

from tests.support.program import PATIENCE_S, Program, ask


class Steady:
    """For the time of a `with` block one client that keeps its connection, and one that opens a new one each time.

    At the end of the block every answer must have been the expected one, and the kept connection must still be that.
    """

    def __init__(self, program: Program, host: str, body: str) -> None:
        self._port = program.port("http")
        self._host = host
        self._expected = (200, body)
        self._stop = threading.Event()
        self.answers = 0
        self._wrong: list[object] = []
        self._threads = [threading.Thread(target=target) for target in (self._keep, self._anew)]

    def __enter__(self) -> Steady:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self._wrong, self._wrong[:5]
            assert self.answers >= len(self._threads)

    def _keep(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            connection.connect()
            kept = connection.sock
            while not self._wrong:
                connection.request("GET", "/", headers={"Host": self._host})
                response = connection.getresponse()
                self._take((response.status, response.read().decode()))
                if connection.sock is not kept:
                    self._wrong.append("the connection was closed")
                if self._stop.wait(0.005):
                    break
        except (OSError, http.client.HTTPException) as problem:
            self._wrong.append(problem)
        finally:
            connection.close()

    def _anew(self) -> None:
        while not self._wrong:
            try:
                self._take(ask(self._port, "/", self._host))
            except OSError as problem:
                self._wrong.append(problem)
            if self._stop.wait(0.005):
                break

    def _take(self, answer: tuple[int, str]) -> None:
        self.answers += 1
        if answer != self._expected:
            self._wrong.append(answer)
