"""What malloc does not use goes back, also from the middle of a heap."""

from __future__ import annotations

import resource
from pathlib import Path

from ingressd.process.heap import trim

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
