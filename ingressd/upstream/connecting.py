"""Connecting: a non-blocking TCP socket gets its peer.

In: a socket, a numeric address. Out: a connected socket, or OSError. Not the loop's sock_connect: uvloop's has a thread
look the address up although it is no name, which costs as much as all the rest of a connection.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket

_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EALREADY})


def begin(sock: socket.socket, address: tuple[str, int]) -> bool:
    """Whether it is connected already; else `finish` waits for it. Raises OSError."""
    number = sock.connect_ex(address)
    if number == errno.EINPROGRESS:
        # What is on this machine has answered by now, and to ask costs less than an event.
        number = sock.connect_ex(address)
    if number in _UNDER_WAY:
        return False
    if number not in (0, errno.EISCONN):
        raise OSError(number, os.strerror(number))
    return True


async def finish(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait until a connect that has begun is over. Raises OSError."""
    answered: asyncio.Future[None] = loop.create_future()
    number = sock.fileno()
    loop.add_writer(number, _answered, answered)
    try:
        await answered
    finally:
        loop.remove_writer(number)
    if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(problem, os.strerror(problem))


def _answered(answered: asyncio.Future[None]) -> None:
    if not answered.done():
        answered.set_result(None)
