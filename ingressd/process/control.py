"""A child's end of the supervisor's channel: the first message, then what comes while it runs.

In: the number of an inherited descriptor. Out: the start order, callbacks on the loop, messages to the supervisor.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from ingressd.process.channel import Channel, ChannelError, Message, Received
from ingressd.settings import Settings

START_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Start:
    """The supervisor's first message to a child."""

    settings: Settings
    """With `workers` counted and the ports that were really opened."""
    index: int = 0
    http: tuple[int, ...] = ()
    """Descriptors of listening sockets, open in this process."""
    https: tuple[int, ...] = ()
    admin: tuple[int, ...] = ()
    dns: tuple[int, ...] = ()
    limits: tuple[int, ...] = ()
    """Descriptor of the memory in which all workers count what clients use of their limits."""
    supervisor_pid: int = 0
    generation: int = 0
    """Applied edits that an earlier controller reported."""
    snapshot: int = 0
    """Number of the last snapshot that an earlier controller published."""

    @classmethod
    def of(cls, message: Message) -> Start:
        """Read the message. Raises TypeError or KeyError when supervisor and child are of different versions."""
        fields: Message = {name: tuple(value) if isinstance(value, list) else value for name, value in message.items()}
        del fields["type"]
        fields["settings"] = Settings.from_json(fields["settings"])
        return cls(**fields)


def begin(number: int) -> tuple[Channel, Start]:
    """Take the inherited descriptor and wait for the start order. Signals meant for the supervisor are ignored.

    Raises EOFError, TimeoutError or ChannelError when there is no supervisor that speaks to us.
    """
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=number))
    return channel, Start.of(channel.wait(START_TIMEOUT_S).message)


class Control:
    """The channel on a running loop. `on_closed` is called once, when the supervisor is gone."""

    def __init__(self, channel: Channel, on_message: Callable[[Received], None], on_closed: Callable[[], None]) -> None:
        self._channel = channel
        self._on_message = on_message
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel.fileno(), self._readable)
        self._loop.call_soon(self._readable)  # what came together with the start order is already buffered

    def send(self, message: Message) -> None:
        """Send without waiting; nothing happens when the supervisor is gone."""
        if not self._channel.closed:
            self._channel.send(message)
            if self._channel.wants_write:
                self._loop.add_writer(self._channel.fileno(), self._writable)

    def close(self) -> None:
        """Stop listening to the supervisor."""
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())
            self._channel.close()

    def _readable(self) -> None:
        if self._channel.fileno() < 0:
            return
        try:
            received = self._channel.receive()
        except ChannelError:
            received = []
            self._channel.closed = True
        for one in received:
            if one.message["type"] == "ping":
                self.send({"type": "pong"})
            else:
                self._on_message(one)
        if self._channel.closed and self._channel.fileno() >= 0:
            self.close()
            self._on_closed()

    def _writable(self) -> None:
        self._channel.flush()
        if not self._channel.wants_write:
            self._loop.remove_writer(self._channel.fileno())
