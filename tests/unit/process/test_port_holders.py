"""Who has a port, as the kernel shows it: the names are of real processes, and what is our own is nobody else's."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingressd.process.port_holders import UNKNOWN, PortHolders
from ingressd.table.stream import TCP, UDP
from tests.support.stream_edge import listener

NOBODY = 0
HOLD = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_STREAM if sys.argv[2] == "TCP" else socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 0))
if sys.argv[2] == "TCP":
    sock.listen()
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def _holding(address: str, protocol: str) -> Iterator[tuple[int, int]]:
    """A child of this process that has a port: the port, and its process id."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, address, protocol], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert select.select([child.stdout], [], [], 20)[0]
        yield int(child.stdout.readline()), child.pid
        child.stdin.close()


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.7"),
        ("::", "127.0.0.1"),
        ("::1", "::"),
    ],
)
def test_another_process_is_named(protocol: str, held: str, wanted: str) -> None:
    with _holding(held, protocol) as (port, pid):
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        strangers = PortHolders(NOBODY).strangers(listener(protocol, wanted, port=port))
        assert strangers == [f"{name} (process {pid})"]


def test_what_a_child_of_the_supervisor_has_is_our_own() -> None:
    with _holding("127.0.0.1", TCP) as (port, _):
        assert PortHolders(os.getpid()).strangers(listener(port=port)) == []


def test_what_the_supervisor_itself_has_is_our_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert PortHolders(os.getpid()).strangers(listener(port=port)) == []


def test_another_address_or_protocol_is_no_obstacle() -> None:
    with _holding("127.0.0.1", TCP) as (port, pid):
        holders = PortHolders(NOBODY)
        assert str(pid) not in "".join(holders.strangers(listener(address="127.0.0.2", port=port)))
        assert str(pid) not in "".join(holders.strangers(listener(UDP, port=port)))


def test_what_cannot_be_read_is_another_process(tmp_path: Path) -> None:
    assert PortHolders(NOBODY, str(tmp_path)).strangers(listener(port=1)) == [UNKNOWN]
    (tmp_path / "net").mkdir()
    line = "0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1"
    (tmp_path / "net" / "tcp").write_text(f"  sl  local_address\n{line}\nshort\n")
    assert PortHolders(NOBODY, str(tmp_path)).strangers(listener(port=80)) == [UNKNOWN]
    folder = tmp_path / "77" / "fd"
    folder.mkdir(parents=True)
    (folder / "3").symlink_to("socket:[4711]")
    (tmp_path / "77" / "comm").write_text("redis-server\n")
    (tmp_path / "77" / "stat").write_text("77 (a) b) S 12 77\n")
    assert PortHolders(NOBODY, str(tmp_path)).strangers(listener(port=80)) == ["redis-server (process 77)"]
    assert PortHolders(12, str(tmp_path)).strangers(listener(port=80)) == []
