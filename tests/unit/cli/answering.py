"""A server that answers as a test tells it to."""

from __future__ import annotations

import http.server
import threading


class Answering:
    """A server on a free port."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b'[{"name": "web"}]'
        self.location = ""
        self.seen: list[tuple[str, str | None]] = []
        answering = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answering.seen.append((self.path, self.headers["Authorization"]))
                self.send_response(answering.status)
                if answering.location:
                    self.send_header("Location", answering.location)
                self.end_headers()
                self.wfile.write(answering.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
