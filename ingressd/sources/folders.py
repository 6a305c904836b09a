"""Which files there are under the given paths, without reading one.

In: paths as the user gave them. Out: a Listing: manifests in a total order, the folders to watch, and faults. Links
are followed only inside the folder they were found in; what is hidden is not looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ingressd.errors import Fault, Severity
from ingressd.sources.contents import Signature, signature, unreadable

_SUFFIXES = (".yaml", ".yml", ".json")
ENTRIES_AT_ONCE = 64
"""About 0.3 ms of looking."""


@dataclass(slots=True)
class Listing:
    """What was found."""

    files: dict[str, Signature] = field(default_factory=dict)
    """By path, in order: that of the given paths, and inside each, by name."""
    faults: list[Fault] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Paths that could not be looked at: what is under them may well be there."""
    folders: set[str] = field(default_factory=set)
    """Real paths of all folders that a manifest may appear in."""
    named: set[str] = field(default_factory=set)
    """Absolute paths whose own appearance counts: the given ones, and the targets of links."""
    entries: dict[str, str] = field(default_factory=dict)
    """Files that stand in a folder themselves, no links: real path -> path."""

    def again(self, reals: Iterable[str]) -> Listing | None:
        """The listing with only these files looked at; None = something else than what is in them may have changed."""
        files = dict(self.files)
        for real in reals:
            path = self.entries.get(real)
            if path is None:
                return None
            try:
                status = os.lstat(real)
            except OSError:
                return None
            if not stat.S_ISREG(status.st_mode):
                return None
            files[path] = signature(real, status)
        return replace(self, files=files)


def list_files(paths: Iterable[str], rest: Callable[[], object] | None = None) -> Listing:
    """Look at what is there now. `rest` is called after each ENTRIES_AT_ONCE entries of a folder."""
    walk = _Walk(rest)
    for path in paths:
        walk.given(path)
    return walk.listing


def is_hidden(name: str) -> bool:
    """Backups and swap files of editors, `.git`, and `..data` of Kubernetes volumes, which links lead into."""
    return name.startswith(".") or name.endswith("~") or (name.startswith("#") and name.endswith("#"))


def is_manifest(name: str) -> bool:
    """Whether a file of this name is read when it is found in a folder."""
    return name.lower().endswith(_SUFFIXES)


def shown(path: str) -> str:
    """The path for messages: a name may hold line breaks, or bytes that are no text."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()


class _Walk:
    def __init__(self, rest: Callable[[], object] | None) -> None:
        self.listing = Listing()
        self._rest = rest
        self._seen: set[str] = set()
        """Real paths of files and folders: each is taken once, from the first path that leads to it."""

    def given(self, path: str) -> None:
        """A path of the user: a folder, or a file of any name. It may be a link to anywhere."""
        absolute = os.path.abspath(path)
        self.listing.named.add(absolute)
        try:
            real = os.path.realpath(path, strict=True)
            status = os.stat(real)
        except OSError as error:
            self._unknown(path, error, given=True)
            return
        self.listing.named.add(real)
        if stat.S_ISDIR(status.st_mode):
            self._folder(path, real, real)
        else:
            self._file(path, real, status)

    def _folder(self, path: str, real: str, root: str) -> None:
        if real in self._seen:
            return
        self._seen.add(real)
        self.listing.folders.add(real)
        try:
            with os.scandir(real) as entries:
                found = sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            self._unknown(path, error)
            return
        inside = os.path.join(path, "")
        for number, entry in enumerate(found, 1):
            self._entry(inside + entry.name, entry.path, entry, root)
            if self._rest is not None and number % ENTRIES_AT_ONCE == 0:
                self._rest()

    def _entry(self, path: str, real: str, entry: os.DirEntry[str], root: str) -> None:
        manifest = is_manifest(entry.name)
        link = real
        try:
            if entry.is_symlink():
                real = os.path.realpath(real, strict=True)
                if not real.startswith(os.path.join(root, "")) and real != root:
                    if manifest or os.path.isdir(real):
                        self._outside(path, real, root)
                    return
                self.listing.named.add(real)
                status = os.stat(real)
            elif not manifest and not entry.is_dir(follow_symlinks=False):
                return
            else:
                status = entry.stat(follow_symlinks=False)
        except OSError as error:
            # A file that went away while we looked is simply not there; a link without a target is somebody's mistake.
            if manifest and os.path.lexists(link):
                self._unknown(path, error)
            return
        if stat.S_ISDIR(status.st_mode):
            self._folder(path, real, root)
        elif manifest and self._file(path, real, status) and real == link:
            self.listing.entries[real] = path

    def _file(self, path: str, real: str, status: os.stat_result) -> bool:
        """Take it, if it is one and was not taken before."""
        if real in self._seen:
            return False
        self._seen.add(real)
        if not stat.S_ISREG(status.st_mode):
            what = "a FIFO" if stat.S_ISFIFO(status.st_mode) else "a socket or a device"
            self._fault(Severity.WARNING, "not_a_file", path, f"this is {what}, no file", "remove it, or rename it")
            return False
        self.listing.files[path] = signature(real, status)
        return True

    def _outside(self, path: str, real: str, root: str) -> None:
        message = f"the link leads to {shown(real)}, outside of {shown(root)}: it is not followed"
        hint = "copy the file, or name its folder on the command line, too"
        self._fault(Severity.WARNING, "symlink_outside", path, message, hint)

    def _unknown(self, path: str, error: OSError, *, given: bool = False) -> None:
        self.listing.unknown.append(path)
        if given and isinstance(error, FileNotFoundError):
            message, hint = "there is no such file or folder", "create it, or correct the path"
            self._fault(Severity.ERROR, "path_missing", path, message, hint)
        elif error.errno == errno.ELOOP:
            self._fault(Severity.ERROR, "symlink_loop", path, "the link leads to itself", "remove it")
        elif isinstance(error, FileNotFoundError):
            self._fault(Severity.ERROR, "symlink_dangling", path, "the link leads to nothing", "remove it")
        else:
            why = unreadable(error)
            self._fault(Severity.ERROR, why.code, path, f"this {why}", why.hint)

    def _fault(self, severity: Severity, code: str, path: str, message: str, hint: str) -> None:
        self.listing.faults.append(Fault(severity, code, "", "", "", shown(path), 0, 0, message, hint))
