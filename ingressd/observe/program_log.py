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
import socket
import stat
import sys
import time

STDERR = 2
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
            data = _encoded(self.format(record))
        except Exception:
            # A record whose arguments do not fit its message is a bug, but no reason to lose what it is about.
            record.msg, record.args, record.exc_info = f"{record.msg!r} with unfit arguments", (), None
            data = _encoded(self.format(record))
        if self._unreported and not self._report(record):
            self._drop()
        elif not self._output.write(data):
            self._drop()

    def close(self) -> None:
        """Give back what was opened."""
        self._output.close()
        super().close()

    def _drop(self) -> None:
        self.dropped += 1
        self._unreported += 1

    def _report(self, record: logging.LogRecord) -> bool:
        lost = logging.makeLogRecord(
            {
                "name": __name__,
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": "%d log records before this one were lost: standard error took no more",
                "args": (self._unreported,),
                "created": record.created,
                "msecs": record.msecs,
            }
        )
        if not self._output.write(_encoded(self.format(lost))):
            return False
        self._unreported = 0
        return True


class Output:
    """A descriptor that others may share, written to without waiting and without changing it for the others."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._opened: int | None = None
        self._socket: socket.socket | None = None
        self._rest = b""
        """What a full pipe took no more of a line that it has the beginning of."""
        with contextlib.suppress(OSError):
            self._prepare(os.fstat(number).st_mode)

    def _prepare(self, mode: int) -> None:
        # O_NONBLOCK belongs to the open file, which our parent and our siblings share. Opening a pipe or a terminal
        # again gives a file of our own; a socket can be told per call; a disk file does not wait for a reader.
        if stat.S_ISFIFO(mode) or os.isatty(self._number):
            self._opened = os.open(
                f"/proc/self/fd/{self._number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            )
        elif stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(self._number))

    def write(self, data: bytes) -> bool:
        """Whether `data` was taken. What was begun is finished by a later call, before anything else."""
        if self._rest:
            self._rest = self._rest[self._write(self._rest) :]
            if self._rest:
                return False
        written = self._write(data)
        if 0 < written < len(data):
            self._rest = data[written:]
        return written > 0

    def close(self) -> None:
        """Close what was opened beside the descriptor itself."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _write(self, data: bytes) -> int:
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            return os.write(self._number if self._opened is None else self._opened, data)
        except OSError:
            return 0


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


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace") + b"\n"
