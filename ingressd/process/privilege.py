"""Privilege: root opens the ports, and an account without rights does the rest.

In: NAME[:GROUP] of the settings. Out: a process that is that account for good, or StartupError with one clear line.
Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import resource
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingressd.errors import StartupError
from ingressd.settings import Settings

_PR_SET_NO_NEW_PRIVS = 38
_LOG_MODE = 0o640
_STATE_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Account:
    """Who a process shall be."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def find_account(user: str) -> Account:
    """The account that `NAME[:GROUP]` means; both may be numbers. Raises StartupError."""
    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if not name.isdecimal():
            raise StartupError(f"--user {user}: there is no user {name}") from None
        if not group:
            raise StartupError(
                f"--user {user}: no user has this number: name its group too, as {name}:{name}"
            ) from None
        entry = None
    try:
        gid = entry.pw_gid if entry and not group else _group(group)
    except KeyError:
        raise StartupError(f"--user {user}: there is no group {group}") from None
    if entry is None or group:
        groups: tuple[int, ...] = (gid,)
    else:
        groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return Account(name, entry.pw_uid if entry else int(name), gid, groups)


def prepare(settings: Settings, account: Account) -> None:
    """While root: make what `account` is going to write, and give it to `account`. Raises StartupError."""
    if os.geteuid() != 0:
        return
    # A link may lead to /dev/stdout, which is nobody's to give away.
    if settings.access_log not in ("-", "off") and not os.path.islink(settings.access_log):
        with _explained(f"cannot write the access log {settings.access_log}"):
            number = os.open(
                settings.access_log,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                _LOG_MODE,
            )
            try:
                give(number, account)
            finally:
                os.close(number)
    if settings.state_dir:
        with _explained(f"cannot use the state folder {settings.state_dir}"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(settings.state_dir, _STATE_MODE)
            number = os.open(settings.state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                give(number, account)
            finally:
                os.close(number)


def give(number: int, account: Account) -> None:
    """Make `account` the owner of an open file or folder of root's. A second name of a file is no reason to."""
    status = os.fstat(number)
    plain = stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
    if plain and status.st_uid == 0:
        os.fchown(number, account.uid, account.gid)


def become(account: Account, user: str) -> None:
    """Be `account`, and never get a right back, not by a set-user-ID program either. Raises StartupError."""
    ids = (account.uid,) * 3, (account.gid,) * 3
    if (os.getresuid(), os.getresgid()) != ids:
        try:
            os.setgroups(account.groups)
            os.setresgid(*ids[1])
            os.setresuid(*ids[0])
        except OSError as problem:
            raise StartupError(
                f"--user {user}: cannot become this user: {problem.strerror} (start as root, or without --user)"
            ) from problem
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise StartupError(f"--user {user}: cannot give up new privileges: {os.strerror(ctypes.get_errno())}")
    for path, mode in ((sys.executable, os.X_OK), (str(Path(__file__).parent), os.R_OK | os.X_OK)):
        if not os.access(path, mode):
            raise StartupError(f"--user {user}: this user may not read {path} (install ingressd where it may)")


def limit() -> None:
    """Every connection is a descriptor or two: take all that we may have (Go does the same at start).

    And no core dumps: private keys are in memory.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise StartupError(f"{what}: {problem.strerror}") from problem


def _group(group: str) -> int:
    """Raises KeyError. A number needs no entry: containers have none."""
    return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
