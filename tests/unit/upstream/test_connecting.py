from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ingressd.upstream.connecting import begin, finish
from tests.support.loops import on_both_loops
from tests.support.stream_edge import free_port


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setblocking(False)
        yield made


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_listens_on_this_machine_is_connected_at_once(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as server, socket.socket(family) as sock:
        sock.setblocking(False)
        assert begin(sock, (address, server.getsockname()[1]))
        peer, _ = server.accept()
        with peer:
            sock.send(b"x")
            assert peer.recv(1) == b"x"


def test_a_port_without_a_listener_refuses_at_once(sock: socket.socket) -> None:
    with pytest.raises(ConnectionRefusedError):
        begin(sock, ("127.0.0.1", free_port()))


def test_an_address_that_is_none_is_an_error_of_the_system(sock: socket.socket) -> None:
    with pytest.raises(OSError) as caught:
        begin(sock, ("255.255.255.255", 1))
    assert caught.value.errno in {errno.EACCES, errno.ENETUNREACH, errno.EINVAL}


@on_both_loops
async def test_the_end_of_a_connect_is_awaited(sock: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock.connect_ex(server.getsockname())
        await finish(asyncio.get_running_loop(), sock)
        assert sock.getpeername() == server.getsockname()


@on_both_loops
async def test_a_refusal_that_comes_later_is_told(sock: socket.socket) -> None:
    sock.connect_ex(("127.0.0.1", free_port()))
    with pytest.raises(ConnectionRefusedError):
        await finish(asyncio.get_running_loop(), sock)


@on_both_loops
async def test_who_does_not_answer_is_waited_for_until_the_wait_is_cancelled(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        # A full backlog answers nobody.
        for _ in range(2):
            stack.enter_context(socket.create_connection(server.getsockname()))
        assert not begin(sock, server.getsockname())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await finish(loop, sock)
        assert not loop.remove_writer(sock.fileno()), "it is watched no more"
