"""The plug-in of the examples, installed by pip, finds endpoints."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingressd.compile.compiler import compile_snapshot
from ingressd.compile.options import CompileOptions
from ingressd.discovery import registry
from ingressd.discovery.base import Answer, Query
from ingressd.discovery.watcher import Watcher
from ingressd.settings import Settings
from ingressd.sources.files import FileSource
from ingressd.table.endpoint import Endpoint

PLUGIN = Path(__file__).parents[2] / "examples" / "discovery-plugin"
MODULE = "ingressd_phone_book"
SETTLE_S = 20
"""Many times the second after which the plug-in reads its file again, for loaded machines."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put it. Nothing is fetched: the build backend is one of the tools for development."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, *offline, "--target", target, PLUGIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Importable during the test, as if it had been installed beside ingressd."""
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop(MODULE, None)


class Asking:
    """A watcher with every provider there is."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.watcher = Watcher(registry.load(Settings()), self._changed.set)

    async def until(self, query: Query, answer: Answer) -> None:
        async with asyncio.timeout(SETTLE_S):
            while self.watcher.answers.get(query) != answer:
                self._changed.clear()
                await self._changed.wait()


def entry(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, source="phone-book")


def test_pip_installs_the_module_and_its_entry_point_alone(site: Path) -> None:
    assert (site / f"{MODULE}.py").read_bytes() == (PLUGIN / f"{MODULE}.py").read_bytes()
    assert not list(site.glob("*.yaml"))
    entry_points = next(site.glob("ingressd_phone_book-*.dist-info")) / "entry_points.txt"
    assert entry_points.read_text().split() == ["[ingressd.discovery]", "phone-book", "=", f"{MODULE}:PhoneBook"]


async def test_a_service_that_names_the_plug_in_gets_its_endpoints_from_it(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = tmp_path / "phone-book.txt"
    book.write_text("plumber 127.0.0.1 9001\nbaker 127.0.0.1 9003\n")
    monkeypatch.setenv("PHONE_BOOK", str(book))
    asking = Asking()
    resources = FileSource([str(PLUGIN)]).load()
    options = CompileOptions(now=datetime.now(UTC))
    (query,) = compile_snapshot(resources, {}, options).queries
    asking.watcher.watch(frozenset({query}))
    await asking.until(query, Answer((entry(9001),)))
    book.write_text("plumber 127.0.0.1 9001\nplumber 127.0.0.1 9002\n")
    await asking.until(query, Answer((entry(9001), entry(9002))))
    compilation = compile_snapshot(resources, asking.watcher.answers, options)
    assert compilation.faults == ()
    assert compilation.snapshot.pools["default/plumber:80"].endpoints == (entry(9001), entry(9002))
    book.write_text("plumber 127.0.0.1\n")
    problem = "the discovery provider phone-book failed: IndexError: list index out of range"
    await asking.until(query, Answer((entry(9001), entry(9002)), problem))
    book.write_text("")
    await asking.until(query, Answer(problem=f"plumber is not in {book}"))
    await asking.watcher.close()


async def test_without_the_plug_in_the_service_says_what_there_is() -> None:
    asking = Asking()
    query = Query("phone-book", "plumber", 80)
    asking.watcher.watch(frozenset({query}))
    problem = "there is no discovery provider phone-book; known: dns, static"
    await asking.until(query, Answer(problem=problem))
    await asking.watcher.close()
