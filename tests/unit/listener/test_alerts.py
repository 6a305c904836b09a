"""AlertingContext: an alert goes to the socket of the handshake that failed, and to no other."""

from __future__ import annotations

import contextvars
import socket
import ssl
from collections.abc import Iterator

import pytest

from ingressd.listener.alerts import AlertingContext, accepted
from tests.support.certificates import trusting

NO_TLS = b"\x16\x03\x01\x00\x04lies"
ALERT = b"\x15"
"""The type of a record (RFC 8446 section 5.1)."""

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, theirs


def handshake(first: bytes, sock: socket.socket | None) -> ssl.SSLObject:
    """The end of a server that was sent `first`, accepted on `sock`, before it has looked at it."""

    def begin() -> ssl.SSLObject:
        accepted.set(sock)
        incoming = ssl.MemoryBIO()
        incoming.write(first)
        return AlertingContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)

    return contextvars.copy_context().run(begin)


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("first", [NO_TLS, pytest.param(client_hello(), id="no certificate")])
def test_an_alert_goes_to_the_client_of_the_handshake_that_failed(first: bytes, pair: Pair) -> None:
    ours, theirs = pair
    with pytest.raises(ssl.SSLError):
        handshake(first, ours).do_handshake()
    assert theirs.recv(100).startswith(ALERT)


def test_a_handshake_that_waits_for_more_says_nothing(pair: Pair) -> None:
    ours, theirs = pair
    with pytest.raises(ssl.SSLWantReadError):
        handshake(client_hello()[:50], ours).do_handshake()
    with pytest.raises(BlockingIOError):
        theirs.recv(100)


def test_a_client_that_is_gone_or_unknown_changes_nothing_about_the_failure(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    for sock in (ours, None):
        with pytest.raises(ssl.SSLError):
            handshake(NO_TLS, sock).do_handshake()
