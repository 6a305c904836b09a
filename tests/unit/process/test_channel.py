"""The supervisor's channel: frames, sockets, partial writes, a peer that is gone or mad."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from ingressd.process.channel import HEADER, MAX_FRAME_BYTES, Channel, ChannelError, Received


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair()
    channels = Channel(left), Channel(right)
    yield channels
    for channel in channels:
        channel.close()


def _all(channel: Channel, sender: Channel, count: int) -> list[Received]:
    """Read until `count` messages have come, letting the sender go on writing."""
    received: list[Received] = []
    while len(received) < count:
        sender.flush()
        received += channel.receive()
    return received


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    for number in range(3):
        ours.send({"type": "x", "number": number})
    assert [one.message["number"] for one in theirs.receive()] == [0, 1, 2]
    assert theirs.receive() == []


def test_a_message_larger_than_the_socket_buffer_waits_and_arrives(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send({"text": "é" * 2_000_000})
    ours.send({"text": "after"})
    assert ours.wants_write
    first, second = _all(theirs, ours, 2)
    assert first.message["text"] == "é" * 2_000_000
    assert second.message == {"text": "after"}
    assert not ours.wants_write


def test_sockets_travel_with_their_message_and_are_closed_at_the_sender(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    kept, passed = socket.socketpair()
    ours.send({"type": "plain"})
    ours.send({"type": "link"}, [passed])
    plain, link = theirs.receive()
    assert plain.sockets == ()
    assert passed.fileno() == -1
    with kept, link.sockets[0] as arrived:
        assert not os.get_inheritable(arrived.fileno())
        kept.sendall(b"hello")
        assert arrived.recv(10) == b"hello"


def test_sockets_of_queued_messages_keep_to_their_message(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send({"text": "x" * 1_000_000})
    pairs = [socket.socketpair() for _ in range(3)]
    for number, (_, passed) in enumerate(pairs):
        ours.send({"number": number}, [passed])
    received = _all(theirs, ours, 4)[1:]
    for number, one in enumerate(received):
        with pairs[number][0] as kept, one.sockets[0] as arrived:
            kept.sendall(b"%d" % number)
            assert arrived.recv(10) == b"%d" % number


def test_the_end_of_the_peer_is_seen_after_its_last_message(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send({"type": "last"})
    ours.close()
    assert [one.message["type"] for one in theirs.receive()] == ["last"]
    assert theirs.closed


def test_sending_to_a_peer_that_is_gone_raises_nothing(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.close()
    kept, passed = socket.socketpair()
    with kept:
        ours.send({"type": "link"}, [passed])
        assert ours.closed
        ours.close()
        assert passed.fileno() == -1


def test_a_frame_beyond_the_bound_is_refused_before_it_is_read(ends: tuple[Channel, Channel]) -> None:
    left, right = socket.socketpair()
    channel = Channel(right)
    with left:
        left.sendall(HEADER.pack(MAX_FRAME_BYTES + 1))
        with pytest.raises(ChannelError, match="at most"):
            channel.receive()
    channel.close()


def test_too_large_a_message_is_not_sent(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(ValueError, match="at most"):
        ends[0].send({"text": "x" * MAX_FRAME_BYTES})


def test_announced_sockets_that_do_not_come_are_an_error() -> None:
    left, right = socket.socketpair()
    channel = Channel(right)
    with left:
        body = b'{"type":"link","sockets":1}'
        left.sendall(HEADER.pack(len(body)) + body)
        with pytest.raises(ChannelError, match="announced"):
            channel.receive()
    channel.close()


def test_waiting_takes_one_message_and_leaves_the_others(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send({"number": 1})
    ours.send({"number": 2})
    assert theirs.wait(5.0).message == {"number": 1}
    assert [one.message["number"] for one in theirs.receive()] == [2]


def test_waiting_ends_with_the_peer_or_with_the_time(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    with pytest.raises(TimeoutError):
        theirs.wait(0.0)
    ours.close()
    with pytest.raises(EOFError):
        theirs.wait(5.0)
