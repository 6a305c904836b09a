"""What tests of processes share: a site of one host, two backends, and the program in front of them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.program import PATIENCE_S, Program, start
from tests.support.site import Site


class Backend:
    """An HTTP server that answers with its name; /slow answers when it is released."""

    def __init__(self, name: str) -> None:
        backend = self
        self.entered = threading.Event()
        self.release = threading.Event()

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/slow":
                    backend.entered.set()
                    backend.release.wait(PATIENCE_S)
                body = name.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


Launch = Callable[..., Program]


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend("one")
    yield backend
    backend.close()


@pytest.fixture
def other_backend() -> Iterator[Backend]:
    backend = Backend("two")
    yield backend
    backend.close()


@pytest.fixture
def site(tmp_path: Path, backend: Backend) -> Site:
    site = Site(tmp_path / "site")
    site.route("a.localhost", backend)
    return site


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start the program on free ports; whatever is left of it at the end is killed."""
    programs: list[Program] = []

    def launched(*arguments: str, environ: dict[str, str] | None = None) -> Program:
        programs.append(start(tmp_path / f"log-{len(programs)}", *arguments, environ=environ))
        return programs[-1]

    yield launched
    for program in programs:
        program.kill()
