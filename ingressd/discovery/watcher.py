"""Watcher: every Query that is asked now, and its last Answer.

In: the providers, the set of queries that the compiled resources need. Out: `answers`, and a call when one of them
changed. A provider that raises costs its own queries only. It never knows what the answers are used for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping

from ingressd.discovery.base import Answer, Discovery, Query

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 30.0
"""A watch that failed is begun again after these, doubling in between (the kubelet's restarts: 10 s to 5 min)."""
CLOSE_S = 2.0
"""A provider that does not let itself be cancelled must not hold up the stop of the program for longer."""

_log = logging.getLogger(__name__)


class Watcher:
    """One task a query. `on_change` is called from the loop, once for all the answers that came in one turn of it."""

    def __init__(self, providers: Mapping[str, Discovery], on_change: Callable[[], None]) -> None:
        self._providers = providers
        self._on_change = on_change
        self._tasks: dict[Query, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        """Cancelled, but not yet over."""
        self._announcement: asyncio.Handle | None = None
        self.answers: dict[Query, Answer] = {}
        """What is known of the queries that are asked; one without an entry has no answer yet."""

    def watch(self, queries: frozenset[Query]) -> None:
        """Ask exactly these from now on. What is no longer asked is forgotten; what was asked already goes on."""
        for query in self._tasks.keys() - queries:
            task = self._tasks.pop(query)
            self.answers.pop(query, None)
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()
        for query in queries - self._tasks.keys():
            self._tasks[query] = asyncio.create_task(self._follow(query), name=f"discovery {query.provider}")
            if query.provider not in self._providers:
                known = ", ".join(sorted(self._providers))
                self._take(query, Answer(problem=f"there is no discovery provider {query.provider}; known: {known}"))

    async def close(self) -> None:
        """Ask nothing any more."""
        self.watch(frozenset())
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSE_S)
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None

    async def _follow(self, query: Query) -> None:
        provider = self._providers.get(query.provider)
        if provider is None:
            return
        retry_s = RETRY_FIRST_S
        while True:
            try:
                async with contextlib.aclosing(_answers(provider, query)) as answers:
                    async for answer in answers:
                        if not self._is_asked(query):
                            return
                        self._take(query, answer)
                        retry_s = RETRY_FIRST_S
            except Exception as error:
                if not self._is_asked(query):
                    return
                self._failed(query, error)
            else:
                if query not in self.answers and self._is_asked(query):
                    problem = f"the discovery provider {query.provider} ended without an answer"
                    self._take(query, Answer(problem=problem))
                return
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    def _is_asked(self, query: Query) -> bool:
        """By this task. One that was cancelled may live on: asyncio.wait_for of Python 3.11 can swallow that."""
        return self._tasks.get(query) is asyncio.current_task()

    def _failed(self, query: Query, error: Exception) -> None:
        """The last good endpoints stay."""
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        problem = f"the discovery provider {query.provider} failed: {reason}"
        known = self.answers.get(query, Answer())
        if known.problem != problem:
            _log.warning("%s (asked for %r)", problem, query.target, exc_info=error)
        self._take(query, Answer(known.endpoints, problem))

    def _take(self, query: Query, answer: Answer) -> None:
        if self.answers.get(query) == answer:
            return
        self.answers[query] = answer
        if self._announcement is None:
            self._announcement = asyncio.get_running_loop().call_soon(self._announce)

    def _announce(self) -> None:
        self._announcement = None
        self._on_change()


async def _answers(provider: Discovery, query: Query) -> AsyncGenerator[Answer, None]:
    """What the provider answers, if it is answers: it may be the work of others."""
    watch = provider.watch(query)
    try:
        async for answer in watch:
            if not isinstance(answer, Answer):
                raise TypeError(f"it answered {type(answer).__name__}, not Answer")
            yield answer
    finally:
        if isinstance(watch, AsyncGenerator):
            await watch.aclose()
