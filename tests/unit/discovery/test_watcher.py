"""The watcher with providers that are small real generators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from ingressd.discovery import watcher as module
from ingressd.discovery.base import Answer, Discovery, Query
from ingressd.discovery.watcher import Watcher
from ingressd.table.endpoint import Endpoint

A = Query("fed", "a", 80)
B = Query("fed", "b", 80)


def answer(address: str) -> Answer:
    return Answer((Endpoint(address, 80, source="fed"),))


class Fed:
    """Answers what the test puts into a query's queue; an exception there is raised, None ends the watch."""

    def __init__(self) -> None:
        self.queues: dict[Query, asyncio.Queue[Answer | Exception | None]] = {}
        self.begun: list[Query] = []
        self.ended: list[Query] = []

    def put(self, query: Query, *items: Answer | Exception | None) -> None:
        for item in items:
            self.queues.setdefault(query, asyncio.Queue()).put_nowait(item)

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        self.begun.append(query)
        queue = self.queues.setdefault(query, asyncio.Queue())
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
                queue.task_done()  # the watcher has taken it
        finally:
            self.ended.append(query)


class Watching:
    """A watcher, and how often it called."""

    def __init__(self, **providers: Discovery) -> None:
        self.changes = 0
        self._changed = asyncio.Event()
        self.watcher = Watcher(providers, self._on_change)

    def _on_change(self) -> None:
        self.changes += 1
        self._changed.set()

    async def until(self, condition: Callable[[dict[Query, Answer]], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition(self.watcher.answers):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def fed() -> Fed:
    return Fed()


@pytest.fixture
async def watching(fed: Fed) -> AsyncIterator[Watching]:
    watching = Watching(fed=fed)
    yield watching
    await watching.watcher.close()


async def test_an_answer_is_kept_and_announced(fed: Fed, watching: Watching) -> None:
    watching.watcher.watch(frozenset({A}))
    assert watching.watcher.answers == {}
    fed.put(A, answer("10.0.0.1"))
    await watching.until(lambda answers: answers == {A: answer("10.0.0.1")})
    assert watching.changes == 1


async def test_an_answer_equal_to_the_one_before_is_not_announced(fed: Fed, watching: Watching) -> None:
    watching.watcher.watch(frozenset({A}))
    fed.put(A, answer("10.0.0.1"))
    await watching.until(lambda answers: A in answers)
    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        fed.put(A, answer(address))
        await fed.queues[A].join()
    assert watching.watcher.answers == {A: answer("10.0.0.2")}
    await watching.until(lambda _: watching.changes == 2)
    assert watching.changes == 2


async def test_answers_of_one_moment_are_announced_together(fed: Fed, watching: Watching) -> None:
    queries = frozenset(Query("fed", str(number), 80) for number in range(500))
    for query in queries:
        fed.put(query, answer("10.0.0.1"))
    watching.watcher.watch(queries)
    await watching.until(lambda answers: answers.keys() == queries)
    assert watching.changes == 1


async def test_a_query_that_is_no_longer_asked_is_cancelled_and_forgotten(fed: Fed, watching: Watching) -> None:
    fed.put(A, answer("10.0.0.1"))
    fed.put(B, answer("10.0.0.2"))
    watching.watcher.watch(frozenset({A, B}))
    await watching.until(lambda answers: len(answers) == 2)
    watching.watcher.watch(frozenset({B}))
    assert watching.watcher.answers == {B: answer("10.0.0.2")}
    fed.put(B, answer("10.0.0.3"))
    await watching.until(lambda answers: answers[B] == answer("10.0.0.3"))
    assert fed.ended == [A]
    assert sorted(fed.begun, key=str) == [A, B]


async def test_a_query_that_comes_back_is_asked_anew(fed: Fed, watching: Watching) -> None:
    fed.put(A, answer("10.0.0.1"))
    watching.watcher.watch(frozenset({A}))
    await watching.until(lambda answers: A in answers)
    watching.watcher.watch(frozenset())
    watching.watcher.watch(frozenset({A}))
    assert watching.watcher.answers == {}
    fed.put(A, answer("10.0.0.2"))
    await watching.until(lambda answers: answers == {A: answer("10.0.0.2")})
    assert fed.begun == [A, A]


async def test_an_unknown_provider_is_a_problem_at_once(watching: Watching) -> None:
    query = Query("consul", "web", 80)
    watching.watcher.watch(frozenset({query}))
    assert watching.watcher.answers == {
        query: Answer(problem="there is no discovery provider consul; known: fed"),
    }
    await watching.until(lambda _: watching.changes == 1)


async def test_a_watch_that_raises_keeps_its_endpoints_and_is_begun_again(
    fed: Fed, watching: Watching, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.01)
    watching.watcher.watch(frozenset({A}))
    fed.put(A, answer("10.0.0.1"), OSError("unplugged"))
    problem = "the discovery provider fed failed: OSError: unplugged"
    await watching.until(lambda answers: answers.get(A) == Answer(answer("10.0.0.1").endpoints, problem))
    fed.put(A, OSError("unplugged"), OSError("unplugged"), answer("10.0.0.2"))
    await watching.until(lambda answers: answers[A] == answer("10.0.0.2"))
    assert len(fed.begun) == 4
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [f"{problem} (asked for 'a')"]  # once, not at each try


async def test_the_wait_before_a_watch_is_begun_again_doubles_up_to_a_bound(
    fed: Fed, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module.asyncio, "sleep", noted)
    fed.put(A, *[ValueError("x")] * 7, answer("10.0.0.1"), ValueError("x"), answer("10.0.0.2"))
    watching.watcher.watch(frozenset({A}))
    await watching.until(lambda answers: answers.get(A) == answer("10.0.0.2"))
    assert waits == [1, 2, 4, 8, 16, 30, 30, 1]


async def test_a_watch_that_ends_keeps_its_last_answer(fed: Fed, watching: Watching) -> None:
    fed.put(A, answer("10.0.0.1"), None)
    fed.put(B, None)
    watching.watcher.watch(frozenset({A, B}))
    await watching.until(lambda answers: len(answers) == 2)
    assert watching.watcher.answers == {
        A: answer("10.0.0.1"),
        B: Answer(problem="the discovery provider fed ended without an answer"),
    }
    assert sorted(fed.begun, key=str) == [A, B]


async def test_what_is_no_answer_is_a_problem_of_its_provider(fed: Fed, watching: Watching) -> None:
    fed.put(A, "10.0.0.1")  # type: ignore[arg-type]
    fed.put(B, answer("10.0.0.2"))
    watching.watcher.watch(frozenset({A, B}))
    await watching.until(lambda answers: len(answers) == 2)
    said = "the discovery provider fed failed: TypeError: it answered str, not Answer"
    assert watching.watcher.answers == {A: Answer(problem=said), B: answer("10.0.0.2")}
    assert fed.ended == [A]


async def test_closing_ends_every_watch(fed: Fed, watching: Watching) -> None:
    fed.put(A, answer("10.0.0.1"))
    watching.watcher.watch(frozenset({A, B}))
    await watching.until(lambda answers: A in answers)
    await watching.watcher.close()
    assert sorted(fed.ended, key=str) == [A, B]
    assert watching.watcher.answers == {}


class Stubborn:
    """Swallows every cancellation until it is released, then answers or raises once more."""

    def __init__(self, last: Answer | Exception) -> None:
        self._last = last
        self.released = asyncio.Event()
        self.begun = 0
        self.closed = 0

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        self.begun += 1
        try:
            yield answer("10.0.0.1")
            while not self.released.is_set():
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    continue
            if isinstance(self._last, Exception):
                raise self._last
            while True:
                yield self._last
        finally:
            self.closed += 1


@pytest.mark.parametrize("last", [answer("10.0.0.2"), ValueError("late")], ids=["answers", "raises"])
async def test_a_watch_that_cannot_be_cancelled_holds_up_nothing_and_ends_with_its_next_word(
    monkeypatch: pytest.MonkeyPatch, last: Answer | Exception
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.05)
    stubborn = Stubborn(last)
    watching = Watching(stubborn=stubborn)
    query = Query("stubborn", "", 80)
    watching.watcher.watch(frozenset({query}))
    await watching.until(lambda answers: query in answers)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "discovery stubborn")
    await watching.watcher.close()
    assert not task.done()
    stubborn.released.set()
    await asyncio.wait({task}, timeout=20)
    assert task.done()
    assert watching.watcher.answers == {}
    assert (stubborn.begun, stubborn.closed) == (1, 1)
