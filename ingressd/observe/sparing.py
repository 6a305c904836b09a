"""Sparing: log lines that come in crowds. At most so many in a while; then how many more there would have been.

In: lines, as logging takes them. Out: the first of them. A thousand endpoints that go down at once are one trouble.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LINES = 20
WINDOW_S = 10.0


class Sparing:
    """One source of lines in one process."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._ends = 0.0
        self._left = 0
        self._kept_back = 0

    def info(self, text: str, *values: object) -> None:
        """See logging."""
        self._say(logging.INFO, text, values)

    def warning(self, text: str, *values: object) -> None:
        """See logging."""
        self._say(logging.WARNING, text, values)

    def exception(self, text: str, *values: object) -> None:
        """See logging."""
        self._say(logging.ERROR, text, values, traced=True)

    def _say(self, level: int, text: str, values: tuple[object, ...], *, traced: bool = False) -> None:
        now = self._clock()
        if now >= self._ends:
            if self._kept_back:
                self._log.warning("%d more lines of this kind were left out", self._kept_back)
            self._ends, self._left, self._kept_back = now + WINDOW_S, LINES, 0
        if not self._left:
            self._kept_back += 1
            return
        self._left -= 1
        self._log.log(level, text, *values, exc_info=traced)
