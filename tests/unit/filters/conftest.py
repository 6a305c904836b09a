"""What filters can use of a worker, for tests of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ingressd.filters.buckets import private
from ingressd.observe.stats import WorkerStats
from ingressd.proxy.services import WorkerServices


@pytest.fixture
async def services() -> AsyncIterator[WorkerServices]:
    """A worker's services, which end with the test."""
    made = WorkerServices(asyncio.get_running_loop(), WorkerStats(), private())
    yield made
    await made.close()
