from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.running_demo import RunningDemo

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """Started once: xdist_group keeps all its tests in one process."""
    running = RunningDemo(CHECKOUT, tmp_path_factory.mktemp("demo"))
    yield running
    assert running.stop() == 0, running.log
