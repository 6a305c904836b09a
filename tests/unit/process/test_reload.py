"""The life of an edit without processes: what is published, and when, as health and endpoints change."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingressd.discovery.base import Answer, Query
from ingressd.discovery.watcher import Watcher
from ingressd.process.health import HealthChecker
from ingressd.process.ports import Ports
from ingressd.process.reload import Reloader, Trigger
from ingressd.settings import OFF, Settings
from ingressd.sources.files import FileSource
from ingressd.table.endpoint import Endpoint
from ingressd.table.snapshot import Delta, Snapshot
from tests.support import site as manifests
from tests.support.site import Site

POOL = "default/web:80"
CHECKED = {"ingressd.dev/health-check": "tcp", "ingressd.dev/health-interval": "100ms", "ingressd.dev/health-rise": "1"}


class Book:
    """A discovery provider whose answer is a test's to change."""

    def __init__(self) -> None:
        self.addresses: asyncio.Queue[str] = asyncio.Queue()

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        while True:
            yield Answer((Endpoint(await self.addresses.get(), query.port, source="book"),))


class Reloading:
    """A reloader over a folder, and what it publishes."""

    def __init__(self, folder: Path) -> None:
        self.published: list[Snapshot] = []
        self.book = Book()
        settings = Settings(paths=(str(folder),), https_port=OFF)
        source = FileSource(settings.paths, events=False)
        self.watcher = Watcher({"book": self.book}, lambda: self.reloader.answered())
        self.checker = HealthChecker(lambda: self.reloader.trigger(Trigger.HEALTH))

        def publish(snapshot: Snapshot, _: Delta) -> None:
            self.published.append(snapshot)

        ports = Ports(os.getpid())
        self.reloader = Reloader(settings, source, self.watcher, self.checker, publish, lambda: None, ports)

    @property
    def healthy(self) -> list[bool]:
        """As published last."""
        return [endpoint.healthy for endpoint in self.published[-1].pools[POOL].endpoints]

    async def until_published(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.published) < count:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def reloading(folder: Path) -> AsyncIterator[Reloading]:
    it = Reloading(folder)
    await it.reloader.start()
    running = asyncio.create_task(it.reloader.run())
    try:
        yield it
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await it.checker.close()
        await it.watcher.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def routed(*ports: int, **annotations: str) -> str:
    text = manifests.routed("web", "a.test", *ports)
    plain = manifests.service("web", ports[0])
    return text.replace(plain, manifests.service("web", ports[0], annotations={**CHECKED, **annotations}))


async def test_the_first_table_knows_who_is_unhealthy_and_the_next_ones_follow(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as well, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port, gone = well.getsockname()[1], closed.getsockname()[1]
        site.write("web.yaml", routed(port, gone))
        async with reloading(site.folder) as it:
            assert it.healthy == [True, False]
            assert it.reloader.advance(1, changed=True)[0].generation == 1
            closed.listen()
            await it.until_published(2)
            assert it.healthy == [True, True]
            assert it.published[1].hosts is it.published[0].hosts, "nothing was compiled for it"
            assert it.reloader.advance(2, changed=True) == [], "health is no edit"


async def test_an_edit_keeps_the_marks_of_those_that_stay(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as well, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port, gone = well.getsockname()[1], closed.getsockname()[1]
        site.write("web.yaml", routed(port, gone))
        async with reloading(site.folder) as it:
            pool = it.published[0].pools[POOL]
            site.write("other.yaml", manifests.routed("other", "b.test", port))
            it.reloader.trigger(Trigger.SIGNAL)
            await it.until_published(2)
            assert it.published[1].pools[POOL] is pool, "workers need not hear of it again"
            site.write("web.yaml", manifests.routed("web", "a.test", port, gone))
            it.reloader.trigger(Trigger.SIGNAL)
            await it.until_published(3)
            assert it.healthy == [True, True]
            assert it.checker.statistics() == {}


async def test_an_answer_that_comes_with_an_edit_of_nothing_is_taken(site: Site) -> None:
    annotations = {"ingressd.dev/discovery": "book:web"}
    site.write(
        "web.yaml", manifests.ingress("web", "a.test") + "---\n" + manifests.service("web", 80, annotations=annotations)
    )
    async with reloading(site.folder) as it:
        it.book.addresses.put_nowait("10.0.0.1")
        await it.until_published(2)
        query, answer = next(iter(it.watcher.answers.items()))
        it.watcher.answers[query] = Answer((Endpoint("10.0.0.2", 80, source="book"),), answer.problem)
        it.reloader.trigger(Trigger.DISCOVERY)
        it.reloader.trigger(Trigger.EDIT)  # an event of a file whose content is the same
        await it.until_published(3)
        assert [each.address for each in it.published[2].pools[POOL].endpoints] == ["10.0.0.2"]
        it.reloader.advance(3, changed=True)
        assert it.reloader.generation == 1, "no edit was made"
