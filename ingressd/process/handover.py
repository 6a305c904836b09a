"""Handover: what a supervisor leaves to the version of itself that takes its place by exec: the same process, the same
sockets, the same children. See docs/decisions/0013-upgrade-in-place.md.

In: a Plan, a Crew. Out: anonymous memory files, and what they say. Two versions of the program read them: add to
them, never rename. Standard library only.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any

from ingressd.errors import StartupError
from ingressd.process.channel import Channel
from ingressd.process.crew import Crew
from ingressd.process.listeners import Listeners
from ingressd.settings import Settings

FORMAT = 1
"""Of the handover; a version that cannot read it says so before anything is handed over."""

_PURPOSES = ("http", "https", "admin", "dns")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a supervisor runs by."""

    settings: Settings
    command: tuple[str, ...]
    """Arguments of `ingressd` that made the settings: an upgrade makes them anew from these."""

    def save(self, number: int) -> None:
        """Write it into a memory file."""
        _save(number, {"settings": self.settings.to_json(), "command": self.command})

    @classmethod
    def load(cls, number: int) -> Plan:
        """Read and close a memory file."""
        raw = _load(number)
        return cls(Settings.from_json(raw["settings"]), tuple(raw["command"]))


def hand_over(crew: Crew) -> int:
    """A memory file about `crew`, whose sockets and channels are named by their descriptors."""
    listeners = crew.listeners
    number = memory_file("ingressd-handover")
    _save(
        number,
        {
            "format": FORMAT,
            "settings": crew.asked.to_json(),
            "progress": crew.progress,
            "http": [sock.fileno() for sock in listeners.http],
            "https": [sock.fileno() for sock in listeners.https],
            "admin": [sock.fileno() for sock in (listeners.admin,) if sock],
            "dns": [sock.fileno() for sock in listeners.dns],
            "children": [
                {"role": child.role, "index": child.index, "pid": child.pid, "channel": child.channel.fileno()}
                for child in crew.children
                if child.pid and child.channel is not None
            ],
        },
    )
    return number


def descriptors(crew: Crew) -> list[int]:
    """Those that `hand_over` names."""
    listeners = crew.listeners
    sockets = [*listeners.http, *listeners.https, *((listeners.admin,) if listeners.admin else ()), *listeners.dns]
    channels = [child.channel for child in crew.children if child.pid and child.channel is not None]
    return [each.fileno() for each in (*sockets, *channels)]


def read(number: int) -> dict[str, Any]:
    """What `hand_over` wrote, checked but not touched yet; closes the memory file. Raises StartupError."""
    try:
        raw = _load(number)
        if raw["format"] != FORMAT:
            raise StartupError(f"this version cannot take over: it reads format {FORMAT}, not {raw['format']}")
        raw["settings"] = Settings.from_json(raw["settings"])
        raw.setdefault("dns", [])  # earlier versions had none
        for name in _PURPOSES:
            raw[name] = [int(each) for each in raw[name]]
        for child in raw["children"]:
            child["role"], int(child["index"]), int(child["pid"]), int(child["channel"])
        int(raw["progress"]["generation"]), int(raw["progress"]["snapshot"])
    except (ValueError, TypeError, KeyError) as problem:
        raise StartupError(f"this version cannot take over from the one that runs: {problem!r}") from problem
    return raw


def adopt_crew(raw: dict[str, Any]) -> Crew:
    """The crew that was handed over, with its running children. `raw` is from `read`."""
    sockets = {name: tuple(_own(number) for number in raw[name]) for name in _PURPOSES}
    admin = sockets["admin"][0] if sockets["admin"] else None
    listeners = Listeners(sockets["http"], sockets["https"], admin, sockets["dns"])
    crew = Crew(raw["settings"], listeners)
    crew.progress = {name: int(raw["progress"][name]) for name in crew.progress}
    for each in raw["children"]:
        child = crew.controller if each["role"] == "controller" else crew.workers[each["index"]]
        child.adopt(each["pid"], Channel(_own(each["channel"])))
    for child in crew.children:
        child.was_ready = True  # also of one that is just being started again: an earlier life of it was
    return crew


def memory_file(name: str) -> int:
    """A descriptor of nothing but memory, so that no secret or path shows up in ps or on a disk."""
    return os.memfd_create(name, os.MFD_CLOEXEC)


def _own(number: int) -> socket.socket:
    sock = socket.socket(fileno=number)
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def _save(number: int, raw: dict[str, Any]) -> None:
    with open(number, "w", encoding="utf-8", closefd=False) as file:
        json.dump(raw, file)
    os.lseek(number, 0, os.SEEK_SET)


def _load(number: int) -> dict[str, Any]:
    with open(number, encoding="utf-8") as file:
        raw: dict[str, Any] = json.load(file)
    return raw
