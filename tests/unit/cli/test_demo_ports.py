from __future__ import annotations

import socket
from pathlib import Path

from ingressd.cli.demo_ports import ADDRESSES, node_port_address
from tests.support.stream_edge import free_port


def _manifests(folder: Path, protocol: str, port: int) -> Path:
    (folder / "service.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
        f"spec: {{type: NodePort, ports: [{{port: 80, protocol: {protocol}, nodePort: {port}}}]}}\n"
    )
    return folder


def _taken(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    sock = socket.socket(type=kind)
    sock.bind((address, port))
    if kind is socket.SOCK_STREAM:
        sock.listen()
    return sock


def _taken_everywhere() -> socket.socket:
    """A port of every address. Somebody may have it at one of them: then another one is."""
    sock = socket.socket()
    sock.bind(("0.0.0.0", 0))
    sock.listen()
    return sock


def test_the_first_address_is_taken_while_its_ports_are_free(tmp_path: Path) -> None:
    assert node_port_address(_manifests(tmp_path, "TCP", free_port())) == "127.0.0.1"


def test_an_address_where_a_port_is_taken_is_passed_over(tmp_path: Path) -> None:
    port = free_port()
    manifests = _manifests(tmp_path, "TCP", port)
    with _taken(socket.SOCK_STREAM, "127.0.0.1", port), _taken(socket.SOCK_STREAM, "127.0.0.2", port):
        assert node_port_address(manifests) == "127.0.0.3"


def test_ports_of_the_other_protocol_do_not_matter(tmp_path: Path) -> None:
    port = free_port()
    with _taken(socket.SOCK_DGRAM, "127.0.0.1", port):
        assert node_port_address(_manifests(tmp_path, "TCP", port)) == "127.0.0.1"
        assert node_port_address(_manifests(tmp_path, "UDP", port)) == "127.0.0.2"


def test_when_all_are_taken_it_is_the_first_one(tmp_path: Path) -> None:
    with _taken_everywhere() as sock:
        assert node_port_address(_manifests(tmp_path, "TCP", sock.getsockname()[1])) == ADDRESSES[0]
