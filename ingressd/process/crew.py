"""Crew: one controller and its workers, on one set of listening sockets, with one version of the settings.

In: settings and sockets. Out: running children, linked to each other, that are told things together. An upgrade is
one crew taking the place of another. Standard library only.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from dataclasses import replace
from typing import BinaryIO, cast

from ingressd.errors import StartupError
from ingressd.process import privilege
from ingressd.process.channel import Message
from ingressd.process.child import Child, HasDescriptor
from ingressd.process.listeners import Listeners, adopt, open_listeners
from ingressd.process.pid_file import PidFile
from ingressd.process.pulse import Pulse
from ingressd.settings import Settings

DRAIN_GRACE_S = 2.0
"""What a draining child gets beyond the drain timeout to close and exit by itself."""
STOP_S = 2.0
"""What a child gets to exit when it is told to stop now."""

_log = logging.getLogger("ingressd.supervisor")


class Crew:
    """`settings.workers` workers and the controller."""

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self.asked = settings
        """As the operator wrote them: port 0 is still 0 here."""
        self.settings = listeners.resolved(settings)
        self.listeners = listeners
        self.controller = Child("controller")
        self.workers = [Child("worker", index) for index in range(settings.workers)]
        self.children = [self.controller, *self.workers]
        self.progress: Message = {"generation": 0, "snapshot": 0}
        """What the controller reported last: the next one goes on counting from there."""
        self.limits = shared_memory()
        """Where the workers count what clients use of their limits."""
        self.pulse = Pulse(settings.hang_timeout_s)
        self.has_admin_port = True
        """A crew that is to take another's place gets the admin port with that place: until then /readyz is theirs.
        It is the same with the port of the DNS server."""
        self.deadline: float | None = None
        """Monotonic seconds by when it must be ready, or gone."""

    @property
    def running(self) -> bool:
        """Some child has not been reaped yet."""
        return any(child.pid for child in self.children)

    @property
    def ready(self) -> bool:
        """Every child has been ready once."""
        return all(child.was_ready for child in self.children)

    @property
    def quiet(self) -> bool:
        """Nothing is under way between the supervisor and a child."""
        return all(child.channel is None or child.channel.idle for child in self.children)

    def start(self, child: Child, now: float) -> None:
        """Start one child and link it with those that run. Raises OSError."""
        listeners, settings = self.listeners, self.settings
        first: Message = {"type": "start", "settings": settings.to_json(), "index": child.index}
        if child is self.controller:
            admin = [listeners.admin] if listeners.admin and self.has_admin_port else []
            dns = [*listeners.dns] if self.has_admin_port else []
            inherited: list[HasDescriptor] = [*admin, *dns]
            first |= {"admin": [sock.fileno() for sock in admin], "dns": [sock.fileno() for sock in dns]}
            first |= {"supervisor_pid": os.getpid(), **self.progress}
        else:
            http = listeners.share(listeners.http, child.index, settings.workers)
            https = listeners.share(listeners.https, child.index, settings.workers)
            inherited = [*http, *https, self.limits]
            # Who carries strangers' requests need not know what opens the admin port.
            first["settings"] = replace(settings, admin_token="").to_json()
            first |= {"http": [sock.fileno() for sock in http], "https": [sock.fileno() for sock in https]}
            first["limits"] = [self.limits.fileno()]
        child.start(now, first, inherited)
        for worker in self.workers if child is self.controller else [child]:
            if worker.pid and self.controller.pid:
                self._link(worker)

    def _link(self, worker: Child) -> None:
        for_controller, for_worker = socket.socketpair()
        self.controller.send({"type": "link", "worker": worker.index, "pid": worker.pid}, [for_controller])
        worker.send({"type": "link"}, [for_worker])

    def tell(self, message: Message) -> None:
        """Send one message to every child that runs."""
        for child in self.children:
            child.send(message)

    def tell_workers(self, message: Message) -> None:
        """Send one message to every worker that runs."""
        for worker in self.workers:
            worker.send(message)

    def end_hung(self, now: float) -> None:
        """SIGKILL whoever does not answer any more: it can neither drain nor be asked to."""
        for child in self.pulse.beat(self.children, now):
            _log.error("%s has not answered for %g s: killed", child.name, self.pulse.timeout_s)
            child.kill()

    def take_over(self, former: Crew) -> None:
        """`former` is about to end: go on with its count, and with its ports of the control plane."""
        self.progress["generation"] = max(self.progress["generation"], former.progress["generation"])
        self.has_admin_port = True
        admin = [self.listeners.admin] if self.listeners.admin else []
        message: Message = {"type": "take_over", "generation": self.progress["generation"], "admin": len(admin)}
        self.controller.send(message, [sock.dup() for sock in (*admin, *self.listeners.dns)])

    def retire(self, now: float) -> None:
        """Another crew accepts on the same sockets: end, without losing a request of anybody."""
        self.deadline = now + self.settings.drain_timeout_s + DRAIN_GRACE_S
        self.controller.send({"type": "stop"})
        self.tell_workers({"type": "retire"})

    def kill(self) -> None:
        """SIGKILL whoever is left."""
        self.deadline = None
        for child in self.children:
            if child.pid:
                _log.warning("%s did not end in time: killed", child.name)
                child.kill()


def shared_memory() -> BinaryIO:
    """An empty file without a name, in memory where that can be had."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("ingressd-limits"), "w+b")
    return cast("BinaryIO", tempfile.TemporaryFile())


def new_crew(settings: Settings, former: Crew | None) -> Crew:
    """Open the sockets, and be from now on who `settings` say. With a `former` crew: to take its place, on its sockets.

    Raises StartupError, with nothing left behind.
    """
    inherited = former.listeners.kept(former.asked, settings) if former else adopt(os.environ, settings, os.getpid())
    listeners = open_listeners(settings, inherited)
    try:
        account = privilege.find_account(settings.user) if settings.user else None
        PidFile(settings.pid_file).write(account)
        if account is not None:
            privilege.prepare(settings, account)
            privilege.become(account, settings.user)
    except StartupError:
        listeners.close_beside(former.listeners if former else Listeners())
        if former is None or former.asked.pid_file != settings.pid_file:
            PidFile(settings.pid_file).remove()
        raise
    crew = Crew(settings, listeners)
    if former is not None:
        crew.has_admin_port = False
        crew.progress = dict(former.progress)
        crew.deadline = time.monotonic() + settings.upgrade_timeout_s
    return crew
