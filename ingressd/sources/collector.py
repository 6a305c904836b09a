"""Collector: Python's garbage collector stands aside while very many objects are made.

In: a block that reads or compiles manifests. Out: nothing. Reading 20,000 documents makes millions of objects and no
cycles; looking for some again and again is a third of the time, and each later look stops the process for half a
second.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

MANY = 100_000
"""New objects that are better kept from the collector for good: it walks about as many in 20 ms."""


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
        # Without collections, the first count is that of the objects which were made and are still there.
        if freeze and gc.get_count()[0] > MANY:
            gc.freeze()
        if enabled:
            gc.enable()
