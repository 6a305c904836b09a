"""Cuts: the ways in which bytes arrive. Where they are cut must make no difference to what is read in them."""

from __future__ import annotations

from collections.abc import Iterator


def ways(data: bytes, seed: int) -> Iterator[list[bytes]]:
    """In one piece, byte by byte, in two at a place that `seed` (0 to 255) decides, and in pieces of that size."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    if len(data) > 1:
        at = 1 + seed * (len(data) - 1) // 256
        yield [data[:at], data[at:]]
        size = 2 + seed % 7
        yield [data[at : at + size] for at in range(0, len(data), size)]
