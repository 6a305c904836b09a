"""Who has a port: the processes of this machine, by what the kernel shows under /proc (proc(5)).

In: a listener that could not be opened. Out: the process that has its port, in words. What other users' processes have
open can be read by root only: then it is not known who. Reads files: not for an event loop.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ingressd.table.stream import TCP, StreamListener

UNKNOWN = "another process"

_LISTENING = "0A"
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with
_IPV4_IN_IPV6 = "::ffff:"
_FIELDS = 10
"""Up to the inode, in a line of /proc/net/tcp."""


class _Bound(NamedTuple):
    """A socket with an address of its own."""

    address: str
    inode: str
    listening: bool


class PortHolders:
    """One look at all sockets, taken when it is first needed."""

    def __init__(self, supervisor_pid: int, root: str = "/proc") -> None:
        """What `supervisor_pid` and its children have is our own."""
        self._supervisor_pid = supervisor_pid
        self._root = root
        self._sockets: dict[tuple[str, int], list[_Bound]] | None = None
        self._owners: dict[str, list[int]] = {}

    def strangers(self, listener: StreamListener) -> list[str]:
        """Who else has the port, as `redis-server (process 4711)`; empty = none but ourselves."""
        if self._sockets is None:
            self._sockets = {}
            self._read_sockets(self._sockets)
            self._owners = self._read_owners()
        found = [
            each
            for each in self._sockets.get((listener.protocol, listener.port), ())
            if _overlaps(each.address, listener.address)
        ]
        if not found:
            return [UNKNOWN]  # bound, but not listening: the kernel shows no such sockets
        strangers: dict[str, None] = {}
        for bound in [each for each in found if each.listening] or found:
            owners = self._owners.get(bound.inode, [])
            if not any(self._is_ours(pid) for pid in owners):
                strangers[self._named(owners[0]) if owners else UNKNOWN] = None
        return list(strangers)

    def _read_sockets(self, into: dict[tuple[str, int], list[_Bound]]) -> None:
        for name in ("tcp", "tcp6", "udp", "udp6"):
            protocol = name[:3].upper()
            for line in self._lines("net", name)[1:]:
                words = line.split()
                if len(words) < _FIELDS:
                    continue
                address, _, port = words[1].partition(":")
                bound = _Bound(_address(address), words[9], protocol != TCP or words[3] == _LISTENING)
                into.setdefault((protocol, int(port, 16)), []).append(bound)

    def _read_owners(self) -> dict[str, list[int]]:
        """Inode of a socket -> the processes that have it."""
        owners: dict[str, list[int]] = {}
        with suppress(OSError):
            for name in os.listdir(self._root):
                if name.isdecimal():
                    for inode in self._inodes(name):
                        owners.setdefault(inode, []).append(int(name))
        return owners

    def _inodes(self, pid: str) -> Iterator[str]:
        folder = os.path.join(self._root, pid, "fd")
        try:
            names = os.listdir(folder)
        except OSError:  # another user's, or gone
            return
        for name in names:
            with suppress(OSError):
                target = os.readlink(os.path.join(folder, name))
                if target.startswith("socket:["):
                    yield target[len("socket:[") : -1]

    def _is_ours(self, pid: int) -> bool:
        if pid == self._supervisor_pid:
            return True
        # The name in parentheses may hold anything.
        status = "".join(self._lines(str(pid), "stat")).rpartition(")")[2].split()
        return len(status) > 1 and status[1] == str(self._supervisor_pid)

    def _named(self, pid: int) -> str:
        name = "".join(self._lines(str(pid), "comm")).strip()
        return f"{name or 'a process'} (process {pid})"

    def _lines(self, *path: str) -> list[str]:
        try:
            with open(os.path.join(self._root, *path), encoding="utf-8", errors="replace") as file:
                return file.readlines()
        except OSError:
            return []


def _address(text: str) -> str:
    """`0100007F` is 127.0.0.1: words of four bytes in the machine's order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    return socket.inet_ntop(socket.AF_INET6, packed).removeprefix(_IPV4_IN_IPV6)


def _overlaps(one: str, other: str) -> bool:
    if one == other or "::" in (one, other):
        return True
    return (one in _ANY or other in _ANY) and ":" not in one + other
