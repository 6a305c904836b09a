"""Listening sockets: shared, busy, inherited, IPv6."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from ingressd.errors import StartupError
from ingressd.process import listeners as module
from ingressd.process.listeners import Listeners, adopt, open_listeners
from ingressd.settings import OFF, Settings

LOOPBACK = Settings(http_port=0, https_port=0, admin_port=0, bind="127.0.0.1", workers=3)


@pytest.fixture
def opened() -> Iterator[Listeners]:
    listeners = open_listeners(LOOPBACK, {})
    yield listeners
    listeners.close()


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_every_worker_gets_a_socket_of_its_own_on_the_same_port(opened: Listeners) -> None:
    assert len(opened.http) == len(opened.https) == 3
    assert len({sock.getsockname() for sock in opened.http}) == 1
    assert [opened.share(opened.http, index, 3) for index in range(3)] == [[sock] for sock in opened.http]
    assert opened.http[0].getsockname() != opened.https[0].getsockname()


def test_settings_are_resolved_to_the_ports_that_were_opened(opened: Listeners) -> None:
    resolved = opened.resolved(LOOPBACK)
    assert resolved.http_port == opened.http[0].getsockname()[1]
    assert resolved.https_port == opened.https[0].getsockname()[1]
    assert opened.admin is not None
    assert resolved.admin_port == opened.admin.getsockname()[1]
    assert str(opened) == (
        f"http=127.0.0.1:{resolved.http_port} https=127.0.0.1:{resolved.https_port}"
        f" admin=127.0.0.1:{resolved.admin_port}"
    )


def test_ports_that_are_off_are_not_opened() -> None:
    settings = replace(LOOPBACK, http_port=OFF, https_port=OFF, admin_port=OFF)
    listeners = open_listeners(settings, {})
    assert listeners == Listeners()
    assert listeners.resolved(settings) == settings
    assert listeners.share(listeners.http, 0, 3) == []


@pytest.mark.parametrize("option", ["http", "https", "admin"])
def test_a_busy_port_is_one_clear_line(busy: int, option: str) -> None:
    settings = replace(LOOPBACK, **{f"{option}_port": busy})
    with pytest.raises(StartupError) as caught:
        open_listeners(settings, {})
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{busy}: Address already in use".replace("Address", "address")
        + f" (another program has this port: stop it, or choose another with --{option}-port)"
    )


def test_a_port_of_another_ingressd_is_busy_though_it_shares_it_among_its_workers(opened: Listeners) -> None:
    with pytest.raises(StartupError, match="address already in use"):
        open_listeners(replace(LOOPBACK, http_port=opened.http[0].getsockname()[1]), {})


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    with pytest.raises(StartupError, match=r"cannot listen on 192\.0\.2\.1:\d+: .* \(no network interface here"):
        open_listeners(replace(LOOPBACK, bind="192.0.2.1"), {})


def test_a_name_that_does_not_resolve_is_one_clear_line() -> None:
    with pytest.raises(StartupError, match=r"cannot listen on nowhere\.invalid:0: "):
        open_listeners(replace(LOOPBACK, bind="nowhere.invalid"), {})


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_addresses_work(host: str) -> None:
    listeners = open_listeners(replace(LOOPBACK, bind=host, https_port=OFF, admin_port=OFF), {})
    port = listeners.http[0].getsockname()[1]
    assert str(listeners) == f"http=[::1]:{port}"
    with socket.create_connection(("::1", port)):
        listeners.close()


def test_the_unspecified_ipv6_address_takes_ipv4_clients_too() -> None:
    listeners = open_listeners(replace(LOOPBACK, bind="::", https_port=OFF, admin_port=OFF), {})
    with socket.create_connection(("127.0.0.1", listeners.http[0].getsockname()[1])):
        listeners.close()


def test_closing_the_data_ports_leaves_the_admin_port(opened: Listeners) -> None:
    opened.close_data()
    assert all(sock.fileno() == -1 for sock in (*opened.http, *opened.https))
    assert opened.admin is not None
    assert opened.admin.fileno() >= 0


def test_fewer_sockets_than_workers_are_shared_and_more_are_all_used() -> None:
    sockets = [socket.socket() for _ in range(3)]
    assert [Listeners().share(sockets[:1], index, 2) for index in range(2)] == [sockets[:1], sockets[:1]]
    assert [Listeners().share(sockets, index, 2) for index in range(2)] == [[sockets[0], sockets[2]], [sockets[1]]]
    for sock in sockets:
        sock.close()


# The DNS server: two sockets on one port.

DNS = replace(LOOPBACK, http_port=OFF, https_port=OFF, admin_port=OFF, dns_port=0)


def test_the_dns_server_has_the_same_port_for_both_transports() -> None:
    listeners = open_listeners(DNS, {})
    datagrams, stream = listeners.dns
    assert (datagrams.type, stream.type) == (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    assert datagrams.getsockname() == stream.getsockname()
    assert listeners.resolved(DNS).dns_port == stream.getsockname()[1]
    assert str(listeners) == f"dns=127.0.0.1:{stream.getsockname()[1]}"
    listeners.close()
    assert datagrams.fileno() == stream.fileno() == -1


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_dns_port_that_is_taken_for_one_transport_is_one_clear_line(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*another with --dns-port"):
            open_listeners(replace(DNS, http_port=0, dns_port=port), {})


def test_a_free_port_is_looked_for_until_both_transports_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = module._listen, 3

    def listen(host: str, port: int, option: str, *, shared: bool) -> socket.socket:
        nonlocal refused
        refused -= 1
        if refused > 0:
            raise StartupError("taken")
        return real(host, port, option, shared=shared)

    monkeypatch.setattr(module, "_listen", listen)
    listeners = open_listeners(DNS, {})
    assert refused <= 0
    listeners.close()


def test_an_upgrade_keeps_the_sockets_of_the_same_dns_port() -> None:
    listeners = open_listeners(DNS, {})
    assert listeners.kept(DNS, replace(DNS, http_port=8080))["dns"] == listeners.dns
    assert "dns" not in listeners.kept(DNS, replace(DNS, dns_bind="::1"))
    same = open_listeners(DNS, listeners.kept(DNS, DNS))
    listeners.close_beside(same)
    assert same.dns[0].fileno() >= 0
    listeners.close_beside(Listeners())
    assert same.dns[0].fileno() == -1


# Socket activation.


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Two listening sockets on consecutive descriptors, as a service manager passes them."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    first = 200
    for offset, sock in enumerate(sockets):
        os.dup2(sock.fileno(), first + offset)
    monkeypatch.setattr(module, "FIRST_INHERITED", first)
    yield sockets
    for sock in sockets:
        sock.close()


def _close(adopted: dict[str, list[socket.socket]]) -> None:
    for sockets in adopted.values():
        for sock in sockets:
            sock.close()


def test_named_sockets_are_adopted_and_the_variables_removed(passed: list[socket.socket]) -> None:
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "admin:http", "HOME": "/"}
    adopted = adopt(environ, LOOPBACK, 77)
    assert adopted["admin"][0].getsockname() == passed[0].getsockname()
    assert adopted["http"][0].getsockname() == passed[1].getsockname()
    assert environ == {"HOME": "/"}
    listeners = open_listeners(replace(LOOPBACK, https_port=OFF), adopted)
    assert listeners.resolved(LOOPBACK).http_port == passed[1].getsockname()[1]
    listeners.close()


def test_sockets_without_our_names_are_taken_in_the_order_of_the_open_ports(passed: list[socket.socket]) -> None:
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "ingressd.socket:ingressd.socket"}
    adopted = adopt(environ, replace(LOOPBACK, https_port=OFF), 77)
    assert {name: sockets[0].getsockname() for name, sockets in adopted.items()} == {
        "http": passed[0].getsockname(),
        "admin": passed[1].getsockname(),
    }
    _close(adopted)


def test_sockets_for_another_process_are_not_ours() -> None:
    assert adopt({"LISTEN_PID": "78", "LISTEN_FDS": "2"}, LOOPBACK, 77) == {}
    assert adopt({}, LOOPBACK, 77) == {}


def _twins() -> tuple[socket.socket, socket.socket]:
    """What a socket unit of a DNS server has: TCP and UDP."""
    datagrams, stream = open_listeners(DNS, {}).dns
    return stream, datagrams


def _pass(monkeypatch: pytest.MonkeyPatch, sockets: Sequence[socket.socket]) -> None:
    for offset, sock in enumerate(sockets):
        os.dup2(sock.fileno(), 210 + offset)
        sock.close()
    monkeypatch.setattr(module, "FIRST_INHERITED", 210)


def test_the_dns_servers_sockets_are_adopted_by_name_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = _twins()
    place = twins[0].getsockname()
    _pass(monkeypatch, twins)
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "dns:dns"}
    settings = replace(DNS, dns_port=OFF)
    listeners = open_listeners(settings, adopt(environ, settings, 77))
    datagrams, stream = listeners.dns
    assert (datagrams.type, stream.type) == (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    assert datagrams.getsockname() == stream.getsockname() == place
    assert listeners.resolved(settings).dns_port == place[1]
    listeners.close()


def test_without_names_the_dns_servers_sockets_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    http = socket.create_server(("127.0.0.1", 0))
    place = http.getsockname()
    _pass(monkeypatch, (http, *_twins()))
    adopted = adopt({"LISTEN_PID": "77", "LISTEN_FDS": "3"}, replace(DNS, http_port=0), 77)
    assert adopted["http"][0].getsockname() == place
    assert [sock.type for sock in adopted["dns"]] == [socket.SOCK_DGRAM, socket.SOCK_STREAM]
    _close(adopted)


@pytest.mark.parametrize("index", [0, 1])
def test_a_dns_server_with_one_transport_only_is_one_clear_line(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = _twins()
    _pass(monkeypatch, [twins[index]])
    twins[1 - index].close()
    with pytest.raises(StartupError, match="a socket for UDP and one for TCP, both named dns"):
        adopt({"LISTEN_PID": "77", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "dns"}, DNS, 77)


def test_datagrams_are_for_the_dns_server_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, datagrams = _twins()
    stream.close()
    _pass(monkeypatch, [datagrams])
    with pytest.raises(StartupError, match=r"\(admin\) is not a listening TCP socket"):
        adopt({"LISTEN_PID": "77", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "admin"}, DNS, 77)


def test_unknown_names_beside_known_ones_are_one_clear_line() -> None:
    with pytest.raises(StartupError, match="name each one http, https, admin or dns"):
        adopt({"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:web"}, LOOPBACK, 77)


def test_a_descriptor_that_does_not_listen_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as idle:
        number = os.dup(idle.fileno())
        monkeypatch.setattr(module, "FIRST_INHERITED", number)
        with pytest.raises(StartupError, match="not a listening TCP socket"):
            adopt({"LISTEN_PID": "77", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}, LOOPBACK, 77)
