"""One program for many tests, that goes on whatever happens to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.process.conftest import Backend
from tests.support.program import Program, running
from tests.support.site import Site


@dataclass(frozen=True)
class World:
    """A program, its site, the backend of its one host, and another one for it."""

    program: Program
    site: Site
    one: Backend
    two: Backend


@contextmanager
def lasting_world(folder: Path) -> Iterator[World]:
    """A program that serves `a.localhost` in the meantime."""
    site = Site(folder / "site")
    one, two = Backend("one"), Backend("two")
    site.route("a.localhost", one)
    try:
        with running(folder / "log", str(site.folder)) as program:
            yield World(program, site, one, two)
    finally:
        one.close()
        two.close()
