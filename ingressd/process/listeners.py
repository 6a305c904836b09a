"""The listening sockets: opened once by the supervisor, kept by it, inherited by every child.

In: settings, and sockets that a service manager passed (LISTEN_FDS). Out: Listeners, or StartupError with one clear
line. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

from ingressd.errors import StartupError
from ingressd.settings import OFF, Settings

BACKLOG = 4096
"""Connections that may wait while a worker is replaced; the kernel caps it at net.core.somaxconn (4096)."""

FIRST_INHERITED = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

DNS_TRIES = 10
"""Free ports of UDP whose twin of TCP may be taken."""

PURPOSES = ("http", "https", "admin", "dns")


@dataclass(frozen=True, slots=True)
class Listeners:
    """`http` and `https`: one SO_REUSEPORT socket a worker, or what was inherited. The others: for the controller."""

    http: tuple[socket.socket, ...] = ()
    https: tuple[socket.socket, ...] = ()
    admin: socket.socket | None = None
    dns: tuple[socket.socket, ...] = ()
    """One for UDP and one for TCP, on the same port."""

    def share(self, sockets: Sequence[socket.socket], index: int, workers: int) -> list[socket.socket]:
        """Those of `sockets` that worker `index` accepts on: none is left out and no worker goes without."""
        if len(sockets) >= workers:
            return list(sockets[index::workers])
        return [sockets[index % len(sockets)]] if sockets else []

    def resolved(self, settings: Settings) -> Settings:
        """`settings` with the ports that were really opened."""
        return replace(
            settings,
            http_port=_port(self.http[0]) if self.http else OFF,
            https_port=_port(self.https[0]) if self.https else OFF,
            admin_port=_port(self.admin) if self.admin else OFF,
            dns_port=_port(self.dns[0]) if self.dns else OFF,
        )

    def kept(self, before: Settings, after: Settings) -> dict[str, tuple[socket.socket, ...]]:
        """Those that `after` asks for as `before` did, by purpose: an upgrade opens the others anew."""
        kept: dict[str, tuple[socket.socket, ...]] = {}
        if before.bind == after.bind and before.http_port == after.http_port:
            kept["http"] = self.http
        if before.bind == after.bind and before.https_port == after.https_port:
            kept["https"] = self.https
        if before.admin_bind == after.admin_bind and before.admin_port == after.admin_port and self.admin:
            kept["admin"] = (self.admin,)
        if before.dns_bind == after.dns_bind and before.dns_port == after.dns_port:
            kept["dns"] = self.dns
        return kept

    def close_beside(self, others: Listeners) -> None:
        """Close what is not among `others`."""
        used = [*others.http, *others.https, others.admin, *others.dns]
        for sock in (*self.http, *self.https, self.admin, *self.dns):
            if sock is not None and sock not in used:
                sock.close()

    def close_data(self) -> None:
        """Stop listening for requests, so that clients are refused instead of queued while the workers drain."""
        for sock in (*self.http, *self.https):
            sock.close()

    def close(self) -> None:
        """Close everything."""
        self.close_data()
        for sock in (self.admin, *self.dns):
            if sock is not None:
                sock.close()

    def __str__(self) -> str:
        admin = (self.admin,) if self.admin else ()
        parts = [("http", self.http), ("https", self.https), ("admin", admin), ("dns", self.dns)]
        return " ".join(f"{name}={_name(sockets[0])}" for name, sockets in parts if sockets and sockets[0])


def open_listeners(settings: Settings, inherited: Mapping[str, Sequence[socket.socket]]) -> Listeners:
    """Open what `settings` asks for (`settings.workers` sockets a data port) and nobody has passed.

    Raises StartupError: the port is busy, forbidden, or the address is not ours.
    """
    opened: list[socket.socket] = []

    def data(purpose: str, port: int) -> tuple[socket.socket, ...]:
        if inherited.get(purpose):
            return tuple(inherited[purpose])
        if port == OFF:
            return ()
        sockets = _open_shared(settings.bind, port, settings.workers, f"--{purpose}-port")
        opened.extend(sockets)
        return sockets

    try:
        http = data("http", settings.http_port)
        https = data("https", settings.https_port)
        if inherited.get("admin"):
            admin: socket.socket | None = inherited["admin"][0]
        elif settings.admin_port == OFF:
            admin = None
        else:
            admin = _listen(settings.admin_bind, settings.admin_port, "--admin-port", shared=False)
            opened.append(admin)
        dns = tuple(inherited.get("dns", ()))
        if not dns and settings.dns_port != OFF:
            dns = _open_dns(settings.dns_bind, settings.dns_port)
    except StartupError:
        for sock in opened:
            sock.close()
        raise
    return Listeners(http, https, admin, dns)


def adopt(environ: MutableMapping[str, str], settings: Settings, pid: int) -> dict[str, list[socket.socket]]:
    """Take over what a service manager passed by the LISTEN_FDS protocol, and remove its variables.

    LISTEN_FDNAMES names each socket http, https, admin or dns (two: for UDP and for TCP); without such names their
    order is that of the ports which are switched on. Raises StartupError when they do not fit.
    """
    addressee = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if addressee != str(pid) or not count.isdecimal() or int(count) == 0:
        return {}
    numbers = range(FIRST_INHERITED, FIRST_INHERITED + int(count))
    if not set(names) & set(PURPOSES):
        ports = (settings.http_port, settings.https_port, settings.admin_port, settings.dns_port, settings.dns_port)
        names = [name for name, port in zip((*PURPOSES, "dns"), ports, strict=True) if port != OFF][: len(numbers)]
    if len(names) != len(numbers) or not set(names) <= set(PURPOSES):
        raise StartupError(
            f"LISTEN_FDS passes {len(numbers)} sockets named {':'.join(names)}: name each one http, https, admin or dns"
            " (FileDescriptorName= in the socket unit)"
        )
    adopted: dict[str, list[socket.socket]] = {}
    for number, name in zip(numbers, names, strict=True):
        adopted.setdefault(name, []).append(_adopt_one(number, name))
    if "dns" in adopted:
        adopted["dns"] = _dns_pair(adopted["dns"])
    return adopted


def _adopt_one(number: int, name: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=number)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as problem:
        raise StartupError(f"LISTEN_FDS: descriptor {number} ({name}) is not a socket: {problem.strerror}") from problem
    datagrams = name == "dns" and sock.type == socket.SOCK_DGRAM
    if not (listening or datagrams) or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        kind = "UDP socket, nor a listening TCP socket" if name == "dns" else "listening TCP socket"
        raise StartupError(f"LISTEN_FDS: descriptor {number} ({name}) is not a {kind}")
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def _dns_pair(sockets: list[socket.socket]) -> list[socket.socket]:
    """UDP first. One without the other would leave clients of long answers alone, or all others."""
    if {sock.type for sock in sockets} != {socket.SOCK_DGRAM, socket.SOCK_STREAM}:
        for sock in sockets:
            sock.close()
        raise StartupError(
            "LISTEN_FDS: the DNS server needs a socket for UDP and one for TCP, both named dns"
            " (ListenDatagram= and ListenStream= in the socket unit)"
        )
    return sorted(sockets, key=lambda sock: sock.type != socket.SOCK_DGRAM)


def _open_shared(host: str, port: int, count: int, option: str) -> tuple[socket.socket, ...]:
    # SO_REUSEPORT would let a second ingressd of the same user join the port and take half of its connections:
    # a bind without it finds out first.
    if port:
        _bind(host, port, option, shared=False).close()
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_listen(host, port, option, shared=True))
            port = _port(sockets[0])
    except StartupError:
        for sock in sockets:
            sock.close()
        raise
    return tuple(sockets)


def _open_dns(host: str, port: int) -> tuple[socket.socket, ...]:
    """UDP and TCP. A port that is free for one may be taken for the other: with the port 0 another one is tried."""
    tries = 1 if port else DNS_TRIES
    while True:
        tries -= 1
        datagrams = _bind(host, port, "--dns-port", shared=False, kind=socket.SOCK_DGRAM)
        try:
            return datagrams, _listen(host, _port(datagrams), "--dns-port", shared=False)
        except StartupError:
            datagrams.close()
            if not tries:
                raise


def _listen(host: str, port: int, option: str, *, shared: bool) -> socket.socket:
    sock = _bind(host, port, option, shared=shared)
    try:
        sock.listen(BACKLOG)
    except OSError as problem:
        sock.close()
        raise _refused(host, port, option, problem) from problem
    return sock


def _bind(
    host: str, port: int, option: str, *, shared: bool, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    name = host.strip("[]")
    try:
        found = socket.getaddrinfo(name or None, port, type=kind, flags=socket.AI_PASSIVE)
        family, _, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise _refused(host, port, option, problem) from problem
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            # Of datagrams it would mean that two programs may have the port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if name == "::" else 1)
        sock.bind(address)
    except OSError as problem:
        sock.close()
        raise _refused(host, port, option, problem) from problem
    return sock


def _refused(host: str, port: int, option: str, problem: OSError) -> StartupError:
    ways_out = {
        errno.EADDRINUSE: f"another program has this port: stop it, or choose another with {option}",
        errno.EACCES: f"ports below 1024 need root or CAP_NET_BIND_SERVICE: choose another with {option}",
        errno.EADDRNOTAVAIL: "no network interface here has this address",
        errno.EMFILE: "too many open files: raise `ulimit -n`",
    }
    what = problem.strerror or str(problem)
    if problem.errno is not None and problem.errno in ways_out:
        what = os.strerror(problem.errno)
        way_out = f" ({ways_out[problem.errno]})"
    else:
        way_out = ""
    return StartupError(f"cannot listen on {_join(host.strip('[]'), port)}: {what[:1].lower()}{what[1:]}{way_out}")


def _port(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def _name(sock: socket.socket) -> str:
    return _join(*sock.getsockname()[:2])


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
