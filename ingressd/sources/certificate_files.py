"""Certificate files: PEM pairs that the operator names or that ingressd makes, on disk.

In: paths. Out: bytes, or in words why there are none. Whether a pair is any good is for compile/ to say.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

FILE_BYTES = 1024 * 1024
"""As much as a Secret may hold."""
PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644
PRIVATE_FOLDER = 0o700
PUBLIC_FOLDER = 0o755


def read_pair(chain_file: str, key_file: str) -> tuple[bytes, bytes, str]:
    """Chain, key and an empty string; or two empty ones and why they cannot be read."""
    contents = []
    for path in (chain_file, key_file):
        try:
            contents.append(read_pem(path))
        except OSError as error:
            return b"", b"", f"{path}: {error.strerror or error}"
        except ValueError as mistake:
            return b"", b"", f"{path}: {mistake}"
    return contents[0], contents[1], ""


def read_pem(path: str | Path) -> bytes:
    """The content of a regular file. Raises OSError, or ValueError when it is no file to be read."""
    # O_NONBLOCK: a FIFO without a writer would stop the program here.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > FILE_BYTES:
        raise ValueError("larger than 1 MiB: no certificate or key is")
    return content


def open_to(path: str | Path) -> int:
    """The mode of a file of ours that other users of the machine can read, and its owner, we, could close; else 0.

    A file of another owner is not ours to close, and its open mode may be how we can read it at all: in a container,
    a key that is mounted from the host. Folders above that let nobody through keep others out, too.
    """
    try:
        found = os.stat(path)
        above = [os.stat(folder).st_mode for folder in Path(os.path.realpath(path)).parents]
    except OSError:
        return 0
    if found.st_uid != os.geteuid():
        return 0
    everybody = found.st_mode & stat.S_IROTH and all(mode & stat.S_IXOTH for mode in above)
    group = found.st_mode & stat.S_IRGRP and all(mode & (stat.S_IXGRP | stat.S_IXOTH) for mode in above)
    return stat.S_IMODE(found.st_mode) if everybody or group else 0


def make_folder(path: Path, mode: int = PRIVATE_FOLDER, *, enforce: bool = False) -> None:
    """A folder for keys. One that is there stays as it is, unless `enforce` its mode. Raises OSError."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    if enforce and stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def write_file(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Whole or not at all, since somebody may be watching; never wider open than `mode`. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
