"""The access log: one line for every request or connection that is passed on, whatever ended it.

In: Entries. Out: lines in a file or on standard output, in JSON or in ingress-nginx's default format. Lines are
gathered on the loop and written by a LogWriter; what a stuck reader does not take is dropped and counted.
"""

from __future__ import annotations

import asyncio
import sys

from ingressd.observe.entry import Entry
from ingressd.observe.line import FORMATS
from ingressd.observe.log_writer import LogWriter, open_file
from ingressd.observe.stream_line import STREAM_FORMATS, StreamEntry

STDOUT = "-"
OFF = "off"

FLUSH_S = 0.2
"""How old a line gets before it is written; people who follow a log do not notice (Envoy flushes after 10 s)."""
FLUSH_BYTES = 64 * 1024
"""Lines that have gathered to this are written at once (Envoy's buffer is as large)."""

_STDOUT_NUMBER = 1


class AccessLog:
    """Gathers lines; every method is called on one thread. Without a running loop each line is handed on at once."""

    def __init__(self, path: str, log_format: str) -> None:
        """`path` is `-` for standard output, `off`, or a file; `log_format` is `json` or `nginx`.

        Raises OSError, with its filename, when the file cannot be opened.
        """
        self.on = path != OFF
        """Lines are wanted."""
        self._path = path
        self._line = FORMATS[log_format]()
        self._stream_line = STREAM_FORMATS[log_format]
        self._lines: list[str] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writer: LogWriter | None = None
        if path == STDOUT:
            # Standard output that was closed at the start may be anything by now, a socket to a client included.
            if sys.__stdout__ is not None:
                self._writer = LogWriter(_STDOUT_NUMBER, shared=True)
        elif path != OFF:
            self._writer = LogWriter(open_file(path), shared=False)

    @property
    def dropped(self) -> int:
        """Lines that could not be written."""
        return 0 if self._writer is None else self._writer.dropped

    def write(self, entry: Entry) -> None:
        """Log one finished request."""
        if self._writer is None:
            return
        line = self._line(entry)
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._schedule()

    def write_stream(self, entry: StreamEntry) -> None:
        """Log one connection or flow that has ended."""
        if self._writer is None:
            return
        line = self._stream_line(entry)
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._schedule()

    def flush(self) -> None:
        """Hand on what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writer is not None and self._lines:
            lines, self._lines, self._bytes = self._lines, [], 0
            self._writer.put("".join(lines).encode("ascii"), len(lines))

    def reopen(self) -> None:
        """Go on in a new file of the same name: the old one was renamed. Raises OSError and goes on in the old one."""
        if self._writer is not None and self._path != STDOUT:
            number = open_file(self._path)
            self.flush()
            self._writer.switch(number)

    def close(self) -> None:
        """Write what is left, for a bounded time. What is logged afterwards is dropped."""
        self.flush()
        if self._writer is not None:
            self._writer.close()

    def _schedule(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            self._timer = loop.call_later(FLUSH_S, self.flush)
