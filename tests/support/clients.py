"""Clients: threads that ask for one host over kept connections until they are told to stop, and what they got."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from types import TracebackType

from tests.support.program import PATIENCE_S, Program


class Clients:
    """For the time of a `with` block. What was answered otherwise than with 200 is counted under its status."""

    def __init__(self, program: Program, host: str, count: int, *, method: str = "GET") -> None:
        self._port = program.port("http")
        self._host = host
        self._method = method
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.bodies: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            while not self._stop.is_set():
                self._ask(connection)
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.request(self._method, "/", headers={"Host": self._host})
            response = connection.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            self._count(self.failures, repr(problem))
        else:
            if response.status == 200:
                self._count(self.bodies, body)
            else:
                self._count(self.failures, str(response.status))

    def _count(self, counter: Counter[str], key: str) -> None:
        with self._lock:
            counter[key] += 1
