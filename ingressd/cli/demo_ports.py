"""Where the demo opens the ports of Services: their numbers are in the manifests, so it is the address that is chosen.

In: the folder of the examples. Out: a loopback address at which all of those ports are free.
"""

from __future__ import annotations

import errno
import socket
from contextlib import closing
from pathlib import Path

ADDRESSES = tuple(f"127.0.0.{last}" for last in range(1, 255))
"""Linux has all of them; elsewhere the first one is all there is."""


def node_port_address(examples: Path) -> str:
    """The first address that has all of them free; the very first one when there is none, so that faults say why."""
    wanted = _ports(examples)
    return next((address for address in ADDRESSES if _all_free(address, wanted)), ADDRESSES[0])


def _ports(examples: Path) -> set[tuple[str, int]]:
    """Protocol and number of each."""
    from datetime import UTC, datetime

    from ingressd.compile.compiler import compile_snapshot
    from ingressd.compile.options import CompileOptions
    from ingressd.sources.files import FileSource

    resources = FileSource((str(examples),), events=False).load()
    compilation = compile_snapshot(resources, {}, CompileOptions(now=datetime.now(UTC)))
    return {(each.protocol, each.port) for each in compilation.streams.listeners.values()}


def _all_free(address: str, ports: set[tuple[str, int]]) -> bool:
    for protocol, port in ports:
        with closing(socket.socket(type=socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)) as sock:
            if protocol == "TCP":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address, port))
            except OSError as problem:
                if problem.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    return False
    return True
