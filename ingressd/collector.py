"""Collector: Python's garbage collector stands aside while very many objects are made.

In: a block that reads, compiles or receives very much. Out: nothing. Reading 20,000 documents makes millions of objects
and no cycles; looking for some again and again is a third of the time, and each later look at all of them stops the
process for half a second.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

MANY = 20_000
"""New objects that are better kept from the collector for good: it walks about as many in 3 ms."""
YOUNG = 5_000
"""New objects after which the collector looks at them. 50 connections that come at once are Python's usual 700, and of
their objects there is nothing to collect."""


def resume(after: int = 0) -> None:
    """What was imported stays for good: a collector that stood aside for it takes up its work.

    `after`: it looks for the first time at so many new objects; 0 = at Python's usual number.
    """
    gc.freeze()
    gc.enable()
    if after:
        gc.set_threshold(after)


def settle() -> None:
    """What there is by now stays for good: the collector need not walk it again and again, nor look often for more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


@contextlib.contextmanager
def paused(*, freeze: bool = False) -> Iterator[None]:
    """No collection in this block, which may wait and have others inside.

    `freeze`: what it made is meant to stay. If that is much, the collector never looks at it; it still goes when nobody
    refers to it any more.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Without collections, what was made is all in the first generation. (Its count is not of use: objects that
        # went meanwhile are subtracted, new and old ones alike.)
        if freeze and len(gc.get_objects(generation=0)) > MANY:
            gc.freeze()
        if enabled:
            gc.enable()
