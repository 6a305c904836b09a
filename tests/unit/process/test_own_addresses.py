"""The addresses of this machine: as the kernel shows them, and those that there really are."""

from __future__ import annotations

import socket
from pathlib import Path

from ingressd.process.own_addresses import own_addresses

TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 192.0.2.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     |-- 192.0.2.7
        /32 host LOCAL
"""
INTERFACES = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000009 02 40 00 80     eth0
"""


def test_addresses_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/fib_trie").write_text(TRIE)
    (tmp_path / "net/if_inet6").write_text(INTERFACES)
    assert own_addresses(str(tmp_path)) == {"127.0.0.1", "192.0.2.7", "::1", "2001:db8::9"}


def test_without_such_files_none_is_known(tmp_path: Path) -> None:
    assert own_addresses(str(tmp_path)) == frozenset()


def test_what_is_found_can_be_bound() -> None:
    found = own_addresses()
    assert "127.0.0.1" in found
    for address in found:
        if address.startswith("fe80"):
            continue  # an interface has to be named for those
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
