"""What malloc does not use goes back, also from the middle of a heap."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from ingressd.process import heap
from ingressd.process.heap import keep_trimmed, trim

PIECE_BYTES = 100_000
PIECES = 300


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_free_memory_below_what_is_in_use_goes_back() -> None:
    pieces = [b"x" * (PIECE_BYTES + number) for number in range(PIECES)]
    last = pieces[-1]
    pieces.clear()
    before = _resident_bytes()
    assert trim()
    assert _resident_bytes() < before - PIECE_BYTES * PIECES / 2
    assert len(last) == PIECE_BYTES + PIECES - 1


async def test_it_is_trimmed_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(heap, "TRIM_S", 0.0)
    monkeypatch.setattr(heap, "trim", lambda: trims.put_nowait(None))
    trimming = asyncio.create_task(keep_trimmed())
    for _ in range(3):
        await trims.get()
    trimming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trimming
