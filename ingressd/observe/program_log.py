"""What the processes say: logging to standard error, one record a line in text or one JSON object a line.

In: a level, a format, and the records of every module. Out: lines. It never raises to who logs and never waits for a
reader: what cannot be written now is dropped and counted. Standard library only: the supervisor imports it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import socket
import stat
import sys
import time

STDERR = 2
_CLOSED = -1
_PIECE_BYTES = 4096
"""PIPE_BUF of Linux: so much goes into a pipe in one piece, or not at all (pipe(7))."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# C0, DEL, C1 and Unicode's line and paragraph separators: what a terminal or a reader of lines would act on.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS_BUT_LINE_ENDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def configure(log_level: str, log_format: str) -> None:
    """Send every record of at least `log_level` to standard error.

    `log_format` is `text`, `json`, or `auto`: text on a terminal, JSON elsewhere. Calling again replaces what was.
    """
    logging.raiseExceptions = False
    text = log_format == "text" or (log_format == "auto" and os.isatty(STDERR))
    # A descriptor that was closed at the start may be anything by now, a socket to a client included.
    handler = LineHandler(STDERR) if sys.__stderr__ is not None else logging.NullHandler()
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=_LEVELS.get(log_level, logging.INFO), handlers=[handler], force=True)


class LineHandler(logging.Handler):
    """Writes whole lines to a descriptor without waiting; says how many were lost as soon as it can write again."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._output = Output(number)
        self._unreported = 0
        self.dropped = 0
        """Records that could not be written."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or count it."""
        try:
            data = self._encoded(record)
        except Exception:
            # Arguments that do not fit the message are a bug, but no reason to be silent about what happened.
            place = f"a log record of {record.pathname}:{record.lineno} could not be formatted"
            fields = {**record.__dict__, "msg": place, "args": (), "exc_info": None, "stack_info": None}
            data = self._encoded(logging.makeLogRecord(fields))
        if (self._unreported and not self._report(record)) or not self._output.write(data):
            self.dropped += 1
            self._unreported += 1

    def close(self) -> None:
        """Give back what was opened."""
        self._output.close()
        super().close()

    def _report(self, record: logging.LogRecord) -> bool:
        fields = {
            "name": __name__,
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": "%d log records before this one were lost: standard error took no more",
            "args": (self._unreported,),
            "created": record.created,
            "msecs": record.msecs,
        }
        if not self._output.write(self._encoded(logging.makeLogRecord(fields))):
            return False
        self._unreported = 0
        return True

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode("utf-8", "backslashreplace") + b"\n"


class Output:
    """A descriptor that others may share, written to without waiting and without changing it for the others."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._opened: int | None = None
        self._socket: socket.socket | None = None
        self._poll: select.poll | None = None
        self._rest = b""
        """What a full pipe took no more of a line that it has the beginning of."""
        with contextlib.suppress(OSError):
            self._prepare(os.fstat(number).st_mode)

    def _prepare(self, mode: int) -> None:
        # O_NONBLOCK belongs to the open file, which our parent and our siblings share. Opening a pipe or a terminal
        # again gives a file of our own; a socket can be told per call; a disk file does not wait for a reader.
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(self._number))
        elif stat.S_ISFIFO(mode) or os.isatty(self._number):
            # For a pipe of another user, which may not be opened. A sibling can still be quicker to fill it.
            self._poll = select.poll()
            self._poll.register(self._number, select.POLLOUT)
            self._opened = os.open(
                f"/proc/self/fd/{self._number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            )

    def write(self, data: bytes) -> bool:
        """Whether `data` was taken. What was begun is finished by a later call, before anything else."""
        if self._rest:
            self._rest = self._write(self._rest)
            if self._rest:
                return False
        rest = self._write(data)
        if len(rest) == len(data):
            return False
        self._rest = rest
        return True

    def close(self) -> None:
        """Close what was opened beside the descriptor itself; write no more."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None
        if self._socket is not None:
            self._socket.close()
        self._number = _CLOSED

    def _write(self, data: bytes) -> bytes:
        """Write what can be written now; returns the rest."""
        with contextlib.suppress(OSError):
            while data:
                data = data[self._write_piece(data[:_PIECE_BYTES]) :]
        return data

    def _write_piece(self, piece: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._opened is not None:
            return os.write(self._opened, piece)
        if self._poll is not None and not self._poll.poll(0):
            raise BlockingIOError
        return os.write(self._number, piece)


class TextFormatter(logging.Formatter):
    """`2030-01-31T12:00:00.000Z INFO ingressd.reload: message`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the message: it must not look like two."""
        message = _CONTROLS.sub(_escape, record.getMessage())
        lines = [f"{_time(record)} {record.levelname:<7} {record.name}: {message}"]
        details = _CONTROLS_BUT_LINE_ENDS.sub(_escape, _details(self, record))
        lines += (f"    {line}" for line in details.split("\n") if line)
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """`{"time": ..., "level": ..., "logger": ..., "message": ...}`, and `exception` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One object, in ASCII, on one line."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": os.getpid(),
            "message": record.getMessage(),
        }
        if details := _details(self, record):
            fields["exception"] = details
        return json.dumps(fields)


def _time(record: logging.LogRecord) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{at}.{int(record.msecs):03d}Z"


def _details(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _escape(match: re.Match[str]) -> str:
    return repr(match[0])[1:-1]
