"""NamedProcess: an HTTP server in a process of its own that answers with its name, and can be killed like any other."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.program import PATIENCE_S

_SOURCE = r"""
import os, socket, sys, threading, time
name, delay_s, port = sys.argv[1].encode(), float(sys.argv[2]), int(sys.argv[3])
def serve(client):
    os.write(1, b"+")
    received = b""
    while data := client.recv(65536):
        received += data
        while b"\r\n\r\n" in received:
            _, _, received = received.partition(b"\r\n\r\n")
            os.write(1, b".")
            if delay_s:
                time.sleep(delay_s)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))
    client.close()
    os.write(1, b"-")
server = socket.create_server(("127.0.0.1", port), backlog=100)
os.write(2, b"%d\n" % server.getsockname()[1])
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
"""Requests have no body. It writes + for a connection that comes, - for one that ends, and a dot for a request."""


class NamedProcess:
    """One server. It takes `delay_s` for each answer."""

    def __init__(self, name: str, folder: Path, delay_s: float = 0.0, port: int = 0) -> None:
        self.name = name
        self._delay_s = delay_s
        self._marks = folder / f"{name}.marks"
        self.port = port
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        # Without site-packages it is there in 20 ms.
        arguments = (sys.executable, "-S", "-c", _SOURCE, self.name, str(self._delay_s), str(self.port))
        with self._marks.open("wb") as marks:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=marks, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], PATIENCE_S)[0], "it does not listen"
        self.port = int(process.stderr.readline())
        return process

    @property
    def connections(self) -> int:
        """How many are open."""
        marks = self._marks.read_text()
        return marks.count("+") - marks.count("-")

    @property
    def served(self) -> int:
        """How many requests have come since the last start."""
        return self._marks.read_text().count(".")

    def stop(self) -> None:
        """SIGSTOP: connections are made, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def restart(self) -> None:
        """Another process on the same port."""
        self._process = self._started()


@contextmanager
def named_processes(folder: Path, *names: str, delay_s: float = 0.0) -> Iterator[list[NamedProcess]]:
    """One for each name."""
    processes: list[NamedProcess] = []
    try:
        # One by one, so that those which have started are killed when another one does not.
        processes.extend(NamedProcess(name, folder, delay_s) for name in names)
        yield processes
    finally:
        for each in processes:
            each.kill()
