"""The content of one file: opened only when it is a regular file of bounded size.

In: the real path of a file. Out: its bytes and what tells it from a later version, or an Unreadable. A FIFO or a
device is never opened for reading: that could block for ever.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass

from ingressd.sources.yaml_values import Refused

FILE_BYTES = 16 * 1024 * 1024
RACY_S = 2.0
"""File systems store times in steps of up to 2 s (FAT): within one, an edit of the same size leaves no trace in the
signature of a file (git calls this "racy")."""

Signature = tuple[str, int, int, int, int]
"""Real path, inode, size, time of modification, time of change."""


class Unreadable(Exception):
    """The file cannot be read; the message continues `the file ...`. `gone`: there is none any more."""

    def __init__(self, code: str, message: str, hint: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.gone = gone


@dataclass(frozen=True, slots=True)
class Content:
    """What was read, and when."""

    data: bytes
    signature: Signature
    read_at: float

    @property
    def written_s(self) -> float:
        """How long before it had been written."""
        return self.read_at - self.signature[3] / 1e9

    @property
    def settled(self) -> bool:
        """Whether the signature tells this content from every later one."""
        return self.read_at - max(self.signature[3], self.signature[4]) / 1e9 >= RACY_S


def signature(real: str, status: os.stat_result) -> Signature:
    """What changes when a file is written or replaced, save for edits within RACY_S."""
    return real, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_content(real: str) -> Content:
    """Raises Unreadable."""
    try:
        return _read(real)
    except OSError as error:
        raise unreadable(error) from None


def unreadable(error: OSError) -> Unreadable:
    """What the operating system says, as a fault tells it."""
    gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
    reason = error.strerror or type(error).__name__
    hint = "give ingressd the right to read it" if isinstance(error, PermissionError) else ""
    return Unreadable("file_unreadable", f"cannot be read: {reason}", hint, gone=gone)


def _read(real: str) -> Content:
    # Not to block on a FIFO that took the file's place a moment ago, nor to follow a link that did.
    descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        read_at = time.time()
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not_a_file", "is not a regular file", "remove it, or put a file in its place")
        if status.st_size <= FILE_BYTES:
            # Not the whole bound at once: a buffer of 16 MiB for each of 10,000 files takes longer than parsing them.
            data = file.read(status.st_size + 1)
            if len(data) > status.st_size:
                data += file.read(FILE_BYTES + 1 - len(data))
            if len(data) <= FILE_BYTES:
                return Content(data, signature(real, status), read_at)
    message = f"is larger than {FILE_BYTES // 1024 // 1024} MiB"
    raise Unreadable("file_too_large", message, "split it into several files")


def text_of(data: bytes) -> str:
    """The text, with `\\n` for every kind of line end. Raises Refused."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise Refused("file_encoding", "this is UTF-16 or binary, not UTF-8", "save it as UTF-8", 1, 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"the byte 0x{data[error.start]:02x} here is not UTF-8"
        raise Refused("file_encoding", message, "save the file as UTF-8", line, column) from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
