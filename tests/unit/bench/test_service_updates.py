from __future__ import annotations

import asyncio

from bench.service_updates import EDITS, worker_updates_s


def test_a_worker_takes_one_pool_of_many_for_each_edit() -> None:
    took_s = asyncio.run(worker_updates_s(100))
    assert len(took_s) == EDITS
    assert all(each > 0 for each in took_s)
