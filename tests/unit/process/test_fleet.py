"""The fleet against real links: one snapshot under way to a worker, catching up, counters."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ingressd.process.fleet import Fleet
from ingressd.process.link import Ask, Begin, End, Export, Link, LinkClosed, Part, Refused, Served
from ingressd.process.transfer import full
from ingressd.table.route import VirtualHost
from ingressd.table.snapshot import Snapshot, diff


def _snapshot(generation: int, *hosts: str) -> Snapshot:
    return Snapshot(generation=generation, hosts={host: VirtualHost(host, ()) for host in hosts})


class Recorder:
    """A fleet, and what it said."""

    def __init__(self, size: int) -> None:
        self.fleet = Fleet(size, self._served)
        self.changed: list[bool] = []
        self._said = asyncio.Event()

    def _served(self, changed: bool) -> None:
        self.changed.append(changed)
        self._said.set()

    async def until_served(self, generation: int) -> None:
        while self.fleet.served != generation:
            self._said.clear()
            await self._said.wait()

    async def worker(self, index: int) -> Link:
        ours, theirs = socket.socketpair()
        self.fleet.attach(index, 1000 + index, ours)
        return await Link.open(theirs)


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder(2)
    yield recorder
    await recorder.fleet.close()


async def _snapshot_of(link: Link) -> tuple[Begin, dict[str, VirtualHost | None]]:
    """The next whole snapshot on the link."""
    begin = await link.receive()
    assert isinstance(begin, Begin)
    hosts: dict[str, VirtualHost | None] = {}
    while not isinstance(message := await link.receive(), End):
        assert isinstance(message, Part)
        hosts.update(message.hosts)
    return begin, hosts


async def test_a_worker_gets_a_full_snapshot_then_changes(recorder: Recorder) -> None:
    link = await recorder.worker(0)
    recorder.fleet.publish(_snapshot(1, "a"))
    begin, hosts = await _snapshot_of(link)
    assert (begin.base, begin.generation, set(hosts)) == (0, 1, {"a"})
    await link.send(Served(1, changed=True))
    await recorder.until_served(1)
    assert recorder.changed == [True]
    recorder.fleet.publish(_snapshot(2, "a", "b"))
    begin, hosts = await _snapshot_of(link)
    assert (begin.base, begin.generation, set(hosts)) == (1, 2, {"b"})
    await link.close()


async def test_what_is_published_while_a_snapshot_is_under_way_is_caught_up_in_one_step(recorder: Recorder) -> None:
    link = await recorder.worker(0)
    recorder.fleet.publish(_snapshot(1, "a"))
    await _snapshot_of(link)
    for generation in (2, 3, 4):
        recorder.fleet.publish(_snapshot(generation, "a", f"h{generation}"))
    await link.send(Served(1, changed=False))
    begin, hosts = await _snapshot_of(link)
    assert (begin.base, begin.generation, set(hosts)) == (1, 4, {"h4"})
    await link.close()


async def test_a_change_that_is_known_goes_to_those_that_serve_what_it_changes(recorder: Recorder) -> None:
    first, second = _snapshot(1, "a"), _snapshot(2, "a", "b")
    delta = diff(first, second)
    link = await recorder.worker(0)
    recorder.fleet.publish(first, full(first))
    assert set((await _snapshot_of(link))[1]) == {"a"}
    await link.send(Served(1, changed=True))
    await recorder.until_served(1)
    # More than the snapshots tell, so that it shows which of the two was sent.
    recorder.fleet.publish(second, replace(delta, hosts={**delta.hosts, "gone": None}))
    begin, hosts = await _snapshot_of(link)
    assert (begin.base, begin.generation, set(hosts)) == (1, 2, {"b", "gone"})
    late = await recorder.worker(1)
    begin, hosts = await _snapshot_of(late)
    assert (begin.base, begin.generation, set(hosts)) == (0, 2, {"a", "b"})
    await link.close()
    await late.close()


async def test_served_is_what_every_worker_serves(recorder: Recorder) -> None:
    first, second = await recorder.worker(0), await recorder.worker(1)
    recorder.fleet.publish(_snapshot(1, "a"))
    await _snapshot_of(first)
    await _snapshot_of(second)
    await first.send(Served(1, changed=False))
    while recorder.fleet.serving != 1:
        await asyncio.sleep(0)
    assert recorder.fleet.served == 0
    await second.send(Served(1, changed=False))
    await recorder.until_served(1)
    assert recorder.fleet.serving == 2
    await first.close()
    await second.close()


async def test_a_worker_that_left_holds_nobody_up_and_its_successor_starts_with_the_newest(recorder: Recorder) -> None:
    first, second = await recorder.worker(0), await recorder.worker(1)
    recorder.fleet.publish(_snapshot(1, "a"))
    for link in (first, second):
        await _snapshot_of(link)
    await first.send(Served(1, changed=False))
    await second.close()
    await recorder.until_served(1)
    assert [member.index for member in recorder.fleet.members] == [0]
    successor = await recorder.worker(1)
    begin, _ = await _snapshot_of(successor)
    assert (begin.base, begin.generation) == (0, 1)
    await first.close()
    await successor.close()


async def test_after_a_refusal_the_next_snapshot_is_a_full_one(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    link = await recorder.worker(0)
    recorder.fleet.publish(_snapshot(1, "a"))
    await _snapshot_of(link)
    await link.send(Refused(1, "a reason"))
    while "a reason" not in caplog.text:
        await asyncio.sleep(0)
    recorder.fleet.publish(_snapshot(2, "a"))
    begin, _ = await _snapshot_of(link)
    assert (begin.base, begin.generation) == (0, 2)
    await link.close()


async def test_a_large_snapshot_leaves_the_loop_to_others(recorder: Recorder) -> None:
    link = await recorder.worker(0)
    recorder.fleet.publish(_snapshot(1, *(f"h{number}" for number in range(20_000))))
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    _, hosts = await _snapshot_of(link)
    counting.cancel()
    assert len(hosts) == 20_000
    assert turns > 50
    await link.close()


async def test_counters_are_asked_for_and_a_silent_worker_does_not_hold_up_the_answer(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingressd.process.fleet.EXPORT_TIMEOUT_S", 0.05)
    speaking, silent = await recorder.worker(0), await recorder.worker(1)
    while len(recorder.fleet.members) < 2:
        await asyncio.sleep(0)

    async def answer() -> None:
        assert isinstance(await speaking.receive(), Ask)
        await speaking.send(Export({"connections_total": 3}, {}, ()))

    answering = asyncio.create_task(answer())
    exports = await recorder.fleet.exports()
    await answering
    assert [export.stats for export in exports] == [{"connections_total": 3}]
    await speaking.close()
    await silent.close()


async def test_the_last_counters_of_a_worker_that_left_are_kept(recorder: Recorder) -> None:
    link = await recorder.worker(0)
    await link.send(Export({"connections_total": 3}, {}, ()))
    await link.close()
    while not recorder.fleet.departed:
        await asyncio.sleep(0)
    assert [export.stats for export in recorder.fleet.departed] == [{"connections_total": 3}]


async def test_a_link_carries_large_messages_both_ways_at_once() -> None:
    left, right = socket.socketpair()
    ours, theirs = await Link.open(left), await Link.open(right)
    text = "x" * 5_000_000
    _, _, got, had = await asyncio.gather(ours.send(text), theirs.send(text), ours.receive(), theirs.receive())
    assert got == had == text
    await ours.close()
    with pytest.raises(LinkClosed):
        await theirs.receive()
    await theirs.close()
