"""LogWriter: the thread that writes the access log, so that a slow disk or a stuck reader holds up the log alone.

In: batches of lines, from one other thread. Out: bytes to a descriptor, whose flags stay as they are: standard output
is shared with other processes. It never knows what a line means.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from queue import Empty, SimpleQueue

QUEUE_BYTES = 4 * 1024 * 1024
"""What may wait for the thread; what is beyond it is dropped. About 8,000 lines of usual length."""
CLOSE_S = 1.0
"""How long `close` waits for the rest to be written: a drained worker has 2 s to exit."""
PIPE_BYTES = 4096
"""PIPE_BUF of Linux: as much goes into a pipe in one piece, whatever our siblings write to it (pipe(7))."""

_LINE_END = 0x0A
_FILE_MODE = 0o640  # targets may carry what is not for everybody


class LogWriter:
    """Writes in the order of the calls. The thread starts with the first batch."""

    def __init__(self, number: int, *, shared: bool) -> None:
        """`shared`: the descriptor belongs to others too and is not closed here."""
        self._number = number
        self._shared = shared
        self._queue: SimpleQueue[bytes | int | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._torn = False
        """The last line that was written has no end."""
        # Each count has one thread that changes it: no lock is needed.
        self._put_bytes = 0
        self._done_bytes = 0
        self._refused = 0
        self._lost = 0

    @property
    def dropped(self) -> int:
        """Lines that were refused because too much was waiting, or lost in writing."""
        return self._refused + self._lost

    def put(self, data: bytes, lines: int) -> None:
        """Write `data`, which is `lines` whole lines, soon. Never waits."""
        if self._closed or self._put_bytes - self._done_bytes + len(data) > QUEUE_BYTES:
            self._refused += lines
            return
        self._put_bytes += len(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()
        self._queue.put(data)

    def switch(self, number: int) -> None:
        """Write what comes from now on to another descriptor."""
        if self._closed:
            os.close(number)
        elif self._thread is None:
            self._take(number)
        else:
            self._queue.put(number)

    def close(self) -> None:
        """Write the rest, for at most CLOSE_S; nothing is accepted any more. A stuck thread ends with the process."""
        if self._closed:
            return
        self._closed = True
        if self._thread is None:
            self._release()
        else:
            self._queue.put(None)
            self._thread.join(CLOSE_S)

    # The thread.

    def _run(self) -> None:
        order: bytes | int | None = b""
        while order is not None:
            data, order = self._next()
            if data:
                self._lost += self._write(data)
                self._done_bytes += len(data)
            if isinstance(order, int):
                self._take(order)
        self._release()

    def _next(self) -> tuple[bytes, bytes | int | None]:
        """Wait; then all that is there, up to and with the next order: a new descriptor, or None for the end.

        A busy loop leaves this thread one turn in several milliseconds: it must not take one for each batch.
        """
        item = self._queue.get()
        batches = []
        while isinstance(item, bytes):
            batches.append(item)
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
        return b"".join(batches), item

    def _write(self, data: bytes) -> int:
        """Write lines; returns how many of them were lost."""
        torn = self._torn
        if torn:
            data = b"\n" + data
        whole = self._takes_any_size()
        start, end = 0, len(data)
        while start < end:
            try:
                start += os.write(self._number, data[start : end if whole else _cut(data, start)])
            except BlockingIOError:  # somebody made the descriptor that we share non-blocking
                poll = select.poll()
                poll.register(self._number, select.POLLOUT)
                poll.poll()
            except OSError:
                break
        if start:
            self._torn = data[start - 1] != _LINE_END
        # What is left has as many ends as lines were lost; one that tears off the line before is none of them.
        return data.count(b"\n", start) - (torn and not start)

    def _takes_any_size(self) -> bool:
        """Whether one write is one piece: in a file that is appended to it is, in a pipe or a socket it is not."""
        try:
            return stat.S_ISREG(os.fstat(self._number).st_mode)
        except OSError:
            return True

    def _take(self, number: int) -> None:
        self._release()
        self._number = number
        self._shared = False
        self._torn = False

    def _release(self) -> None:
        if not self._shared:
            # Some file systems tell only now that they have lost something; the descriptor is closed all the same.
            with contextlib.suppress(OSError):
                os.close(self._number)


def open_file(path: str) -> int:
    """A descriptor that appends to `path`. Raises OSError, also for a named pipe that nobody reads."""
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _FILE_MODE)
    os.set_blocking(number, True)
    return number


def _cut(data: bytes, start: int) -> int:
    """Where to end a piece of at most PIPE_BYTES, after a line end; a line that is longer is a piece of its own."""
    return data.rfind(b"\n", start, start + PIPE_BYTES) + 1 or data.find(b"\n", start) + 1
