"""Heap: what malloc keeps and does not use goes back to the kernel, now and then.

In: time. Out: system calls. Between pieces of bodies, which come and go by the quarter of a mebibyte, stay small things
that live longer; the holes around them are of no use to the next piece, so that a heap grows for hours. Measured:
1.5 MiB in ten minutes of mixed load, after which a trim gave 3.9 MiB back and took 0.4 ms.
"""

from __future__ import annotations

import asyncio
import ctypes

TRIM_S = 60.0


def trim() -> bool:
    """Give whole free pages back (malloc_trim(3)). Returns whether there were any, or False without glibc."""
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return function is not None and bool(function(ctypes.c_size_t(0)))


async def keep_trimmed() -> None:
    """Trim each TRIM_S, for ever."""
    while True:
        await asyncio.sleep(TRIM_S)
        trim()
