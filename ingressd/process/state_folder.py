"""StateFolder: the last good snapshot on disk, private keys included, readable by its owner alone.

In: snapshots. Out: a file that is whole or not there, and the snapshot of it if nobody else can have written it and
this very version has. See docs/operations.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import logging
import os
import pickle
import stat
import time
from enum import Enum
from typing import Any

from ingressd import __version__
from ingressd.errors import StartupError
from ingressd.table.snapshot import Snapshot

FORMAT = 1
FILE = "snapshot"

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_OTHERS = 0o077
_PLAIN = frozenset(
    {
        ("builtins", "frozenset"),
        ("builtins", "set"),
        ("datetime", "datetime"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("ipaddress", "IPv4Address"),
        ("ipaddress", "IPv4Network"),
        ("ipaddress", "IPv6Address"),
        ("ipaddress", "IPv6Network"),
        ("re", "_compile"),
    }
)
"""What is in a snapshot beside our own dataclasses and enumerations: options of filters."""

_log = logging.getLogger("ingressd.state")


class StateFolder:
    """One folder of ours. Every method reads or writes files: not for an event loop."""

    def __init__(self, path: str) -> None:
        """Make the folder if it is not there. Raises StartupError when others could read or change what is in it."""
        self._file = os.path.join(path, FILE)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, _FOLDER_MODE)
            status = os.stat(path)
        except OSError as problem:
            raise StartupError(f"cannot use the state folder {path}: {problem.strerror}") from problem
        if not stat.S_ISDIR(status.st_mode):
            raise StartupError(f"the state folder {path} is not a folder")
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise StartupError(
                f"the state folder {path} is open to others, and private keys are kept in it"
                f" (chown it to user {os.geteuid()} and chmod 700 {path})"
            )

    def save(self, snapshot: Snapshot) -> None:
        """Write it in place of the one before. What goes wrong is logged."""
        draft = f"{self._file}.{os.getpid()}"
        try:
            body = pickle.dumps(snapshot, pickle.HIGHEST_PROTOCOL)
            _unpickled(body)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
            with open(number, "wb") as file:
                file.write(_header(body, time.time()) + body)
                file.flush()
                os.fsync(number)
            os.replace(draft, self._file)
        except OSError as problem:
            _log.error("the snapshot was not kept in %s: %s", self._file, problem.strerror)
        except (pickle.PickleError, TypeError, AttributeError) as problem:
            _log.error("the snapshot was not kept in %s: %s", self._file, problem)

    def load(self) -> tuple[Snapshot, float] | None:
        """The kept snapshot and when it was kept, in seconds since the epoch. None, and a warning unless there is no
        file: it is damaged, of another version, or others may have written it.
        """
        try:
            number = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(number, "rb") as file:
                status = os.fstat(number)
                if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
                    raise pickle.UnpicklingError("others may have written it")
                return _read(file.readline(256), file.read())
        except FileNotFoundError:
            return None
        except OSError as problem:
            reason = problem.strerror or str(problem)
        except Exception as problem:
            # Whatever bytes do to pickle: it is no reason not to start.
            reason = str(problem) or repr(problem)
        _log.warning("the kept snapshot %s is ignored: %s", self._file, reason)
        return None


def _header(body: bytes, kept_at: float) -> bytes:
    return f"ingressd-state {FORMAT} {__version__} {kept_at:.3f} {hashlib.sha256(body).hexdigest()}\n".encode()


def _read(header: bytes, body: bytes) -> tuple[Snapshot, float]:
    words = header.decode("ascii", "replace").split()
    if len(words) != 5 or words[:2] != ["ingressd-state", str(FORMAT)]:
        raise pickle.UnpicklingError("it is not in the format of this version")
    _, _, version, kept_at, digest = words
    if version != __version__:
        raise pickle.UnpicklingError(f"it is of version {version}, and this is {__version__}")
    if hashlib.sha256(body).hexdigest() != digest:
        raise pickle.UnpicklingError("it is damaged")
    return _unpickled(body), float(kept_at)


def _unpickled(body: bytes) -> Snapshot:
    snapshot = _Unpickler(io.BytesIO(body)).load()
    if not isinstance(snapshot, Snapshot):
        raise pickle.UnpicklingError("there is no snapshot in it")
    return snapshot


class _Unpickler(pickle.Unpickler):
    """Makes values and nothing else, should the file be a stranger's in spite of all."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        if module.partition(".")[0] == "ingressd":
            kind = super().find_class(module, name)
            if isinstance(kind, type) and _is_plain(kind):
                return kind
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a snapshot")


def _is_plain(kind: type) -> bool:
    """It holds values, and making one runs no code of anybody's choosing."""
    named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return named_tuple or dataclasses.is_dataclass(kind) or issubclass(kind, Enum)
