from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingressd.model.resource_set import ResourceSet
from ingressd.sources.events import Places
from ingressd.sources.files import FileSource

NEVER_S = 3600.0
"""Longer than any test: what is noticed is noticed by an event."""


def service(name: str, port: int = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"


def ports(found: ResourceSet) -> dict[str, int]:
    return {name: each.object.spec.ports[0].port for (_, name), each in found.services.items()}


class Follower:
    """Does what the controller does: loads when it is told to."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self.found = ResourceSet()
        self.yields = 0
        self.news = asyncio.Condition()

    async def run(self) -> None:
        async for _ in self.source.watch():
            self.yields += 1
            self.found = await asyncio.to_thread(self.source.load, news_only=True)
            async with self.news:
                self.news.notify_all()

    async def until(self, wanted: dict[str, int]) -> None:
        async with self.news:
            await self.news.wait_for(lambda: ports(self.found) == wanted)


@asynccontextmanager
async def following(source: FileSource) -> AsyncIterator[Follower]:
    follower = Follower(source)
    follower.found = await asyncio.to_thread(source.load)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def replace(path: Path, text: str) -> None:
    """As editors do."""
    write(path.with_name(f".{path.name}.swp"), text)
    os.replace(path.with_name(f".{path.name}.swp"), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "d" / "a.yaml", service("a"))
    write(tmp_path / "d" / "sub" / "b.yaml", service("b"))
    return tmp_path / "d"


EDITS: list[tuple[str, Callable[[Path], object], dict[str, int]]] = [
    ("in place", lambda d: write(d / "a.yaml", service("a", 81)), {"a": 81, "b": 80}),
    ("below", lambda d: write(d / "sub" / "b.yaml", service("b", 81)), {"a": 80, "b": 81}),
    ("atomic", lambda d: replace(d / "sub" / "b.yaml", service("b", 81)), {"a": 80, "b": 81}),
    ("deleted", lambda d: (d / "a.yaml").unlink(), {"b": 80}),
    (
        "new file",
        lambda d: write(d / "c.json", '{"apiVersion": "v1", "kind": "Secret"}') or write(d / "c.yml", service("c")),
        {"a": 80, "b": 80, "c": 80},
    ),
    ("new folder", lambda d: write(d / "new" / "deep" / "c.yaml", service("c")), {"a": 80, "b": 80, "c": 80}),
    ("renamed folder", lambda d: (d / "sub").rename(d / ".sub"), {"a": 80}),
    ("removed folder", lambda d: shutil.rmtree(d / "sub"), {"a": 80}),
]


@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize(
    ("edit", "wanted"), [(edit, wanted) for _, edit, wanted in EDITS], ids=[name for name, _, _ in EDITS]
)
async def test_an_edit_is_noticed(
    folder: Path, events: bool, edit: Callable[[Path], object], wanted: dict[str, int]
) -> None:
    source = FileSource((str(folder),), poll_interval_s=NEVER_S if events else 0.02, events=events)
    async with following(source) as follower:
        edit(folder)
        await follower.until(wanted)


async def test_edits_in_a_folder_that_was_made_later_are_noticed(folder: Path) -> None:
    async with following(FileSource((str(folder),), poll_interval_s=NEVER_S)) as follower:
        write(folder / "new" / "c.yaml", service("c"))
        await follower.until({"a": 80, "b": 80, "c": 80})
        write(folder / "new" / "deep" / "d.yaml", service("d"))
        await follower.until({"a": 80, "b": 80, "c": 80, "d": 80})
        write(folder / "new" / "deep" / "d.yaml", service("d", 81))
        await follower.until({"a": 80, "b": 80, "c": 80, "d": 81})


@pytest.mark.parametrize("events", [True, False])
async def test_the_swap_of_a_kubernetes_volume_is_noticed(tmp_path: Path, events: bool) -> None:
    folder = tmp_path / "d"
    write(folder / "..1" / "a.yaml", service("a"))
    (folder / "..data").symlink_to("..1")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    source = FileSource((str(folder),), poll_interval_s=NEVER_S if events else 0.02, events=events)
    async with following(source) as follower:
        for number in (2, 3):
            write(folder / f"..{number}" / "a.yaml", service("a", number))
            (folder / "..data_tmp").symlink_to(f"..{number}")
            os.replace(folder / "..data_tmp", folder / "..data")
            shutil.rmtree(folder / f"..{number - 1}")
            await follower.until({"a": number})


async def test_the_target_of_a_link_is_watched(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write(folder / ".store" / "a.yaml", service("a"))
    (folder / "a.yaml").symlink_to(".store/a.yaml")
    async with following(FileSource((str(folder),), poll_interval_s=NEVER_S)) as follower:
        write(folder / ".store" / "a.yaml", service("a", 81))
        await follower.until({"a": 81})


async def test_a_folder_that_is_a_link_may_be_pointed_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.yaml", service("a"))
    write(tmp_path / "two" / "a.yaml", service("a", 81))
    (tmp_path / "d").symlink_to("one")
    async with following(FileSource((str(tmp_path / "d"),), poll_interval_s=NEVER_S)) as follower:
        (tmp_path / "new").symlink_to("two")
        os.replace(tmp_path / "new", tmp_path / "d")
        await follower.until({"a": 81})
        write(tmp_path / "two" / "a.yaml", service("a", 82))
        await follower.until({"a": 82})


async def test_a_folder_that_goes_away_and_comes_back_is_followed_again(folder: Path) -> None:
    async with following(FileSource((str(folder),), poll_interval_s=NEVER_S)) as follower:
        folder.rename(folder.with_name("away"))
        write(folder / "c.yaml", service("c"))
        await follower.until({"c": 80})
        write(folder / "c.yaml", service("c", 81))
        await follower.until({"c": 81})


async def test_a_folder_that_is_made_later_is_noticed(tmp_path: Path) -> None:
    async with following(FileSource((str(tmp_path / "later"),), poll_interval_s=NEVER_S)) as follower:
        write(tmp_path / "later" / "a.yaml", service("a"))
        await follower.until({"a": 80})


@pytest.mark.parametrize("events", [True, False])
async def test_a_single_file_is_followed_through_renames(tmp_path: Path, events: bool) -> None:
    path = tmp_path / "manifests"
    write(path, service("a"))
    source = FileSource((str(path),), poll_interval_s=NEVER_S if events else 0.02, events=events)
    async with following(source) as follower:
        replace(path, service("a", 81))
        await follower.until({"a": 81})
        write(path, service("a", 82))
        await follower.until({"a": 82})


async def test_a_hundred_edits_in_a_row_are_few_and_the_last_one_counts(folder: Path) -> None:
    async with following(FileSource((str(folder),), poll_interval_s=NEVER_S)) as follower:
        write(folder / "a.yaml", service("a", 100))
        await follower.until({"a": 100, "b": 80})
        before = follower.yields
        for port in range(101, 201):
            write(folder / "a.yaml", service("a", port))
            await asyncio.sleep(0.01)
        await follower.until({"a": 200, "b": 80})
        assert follower.yields - before <= 20


async def test_an_edit_before_the_watch_begins_is_not_missed(folder: Path) -> None:
    source = FileSource((str(folder),), poll_interval_s=NEVER_S)
    source.load()
    write(folder / "a.yaml", service("a", 81))
    watch = source.watch()
    await anext(watch)
    assert ports(source.load()) == {"a": 81, "b": 80}
    await watch.aclose()


async def test_what_does_not_matter_is_not_told(folder: Path) -> None:
    async with following(FileSource((str(folder),), poll_interval_s=0.02)) as follower:
        write(folder / "notes.txt", "x")
        write(folder / ".a.yaml.swp", "x")
        write(folder.parent / "beside.yaml", service("x"))
        write(folder / "a.yaml", service("a"))
        write(folder / "sub" / "c.yaml", service("c"))
        await follower.until({"a": 80, "b": 80, "c": 80})
        assert follower.yields <= 2


async def test_polling_takes_over_where_the_system_gives_no_events(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr("ingressd.sources.events.RustNotify", refuse)
    monkeypatch.setattr("ingressd.sources.events.RETRY_S", 0.0)
    async with following(FileSource((str(folder),), poll_interval_s=0.02)) as follower:
        for port in (81, 82, 83):
            write(folder / "a.yaml", service("a", port))
            await follower.until({"a": port, "b": 80})
    assert [record.message for record in caplog.records] == [
        "no events of the file system (OS file watch limit reached.): edits are found by looking"
    ]


async def test_a_file_that_stays_empty_is_empty_after_a_while(folder: Path) -> None:
    async with following(FileSource((str(folder),), poll_interval_s=0.02)) as follower:
        write(folder / "a.yaml", "")
        await follower.until({"b": 80})


async def test_the_watch_ends_without_a_trace(folder: Path) -> None:
    def listeners() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "file events"]

    async with following(FileSource((str(folder),), poll_interval_s=NEVER_S)) as follower:
        write(folder / "a.yaml", service("a", 81))
        await follower.until({"a": 81, "b": 80})
        assert len(listeners()) == 1
    assert not listeners()


async def test_an_edit_of_one_file_is_found_without_a_look_at_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FileSource((str(folder),), poll_interval_s=NEVER_S)
    async with following(source) as follower:
        write(folder / "new.yaml", service("new"))
        await follower.until({"a": 80, "b": 80, "new": 80})

        def refuse(_: object) -> None:
            raise AssertionError("everything was looked at")

        monkeypatch.setattr("ingressd.sources.files.list_files", refuse)
        write(folder / "sub" / "b.yaml", service("b", 81))
        await follower.until({"a": 80, "b": 81, "new": 80})
        replace(folder / "new.yaml", service("new", 82))
        await follower.until({"a": 80, "b": 81, "new": 82})


async def test_edits_of_one_file_do_not_hide_a_place_without_events(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    concern = Places.concern
    monkeypatch.setattr(Places, "concern", lambda places, path: path.endswith("a.yaml") and concern(places, path))
    source = FileSource((str(folder),), poll_interval_s=0.2)
    async with following(source) as follower:
        write(folder / "sub" / "b.yaml", service("b", 81))
        port = 80
        while ports(follower.found).get("b") != 81:
            port += 1
            write(folder / "a.yaml", service("a", port))
            async with follower.news:
                await follower.news.wait()
