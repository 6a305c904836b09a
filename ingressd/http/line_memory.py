"""LineMemory: lines of message heads that the parser has accepted, so that it need not see them again.

A field line means the same in any head (there is no obs-fold), so a head whose every line is known is known. What is
remembered is the parser's own word; nothing is ever accepted here that it has not accepted before. Measured without
sockets: a request with a browser's 15 fields takes 14 us through the proxy instead of 29, a bare one 13 instead of 20.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from ingressd.memo import remember

LINES = 8192
LINE_BYTES = 512
"""8192 lines of 512 bytes: 4 MiB in a worker, whatever clients send."""
STARTS = 16_384
START_BYTES = 256
"""Ten thousand paths of one host have room, in 20 MiB at most with what they mean."""
BLOCKS = 1024
BLOCK_BYTES = 2048
"""What a browser sends without long cookies."""
DATED_LINES = 1024
DATED_BLOCKS = 256
"""Of heads with a Date, which are the same for a second: more would only take an hour to fill, and serve nobody."""

S = TypeVar("S")
B = TypeVar("B")


class LineMemory(Generic[S, B]):
    """The oldest, or all lines, are forgotten when there is too much: clients choose what they send."""

    __slots__ = ("_most_blocks", "_most_lines", "blocks", "lines", "starts")

    def __init__(self, most_lines: int = LINES, most_blocks: int = BLOCKS) -> None:
        self._most_lines = most_lines
        self._most_blocks = most_blocks
        self.lines: set[bytes] = set()
        """Field lines, without their ends. A set, which knows no oldest, is asked about many in half the time."""
        self.starts: dict[bytes, S] = {}
        """A request line or status line -> its parts."""
        self.blocks: dict[bytes, B] = {}
        """All the fields of a head -> what they say: a client mostly says the same again."""

    def learn(self, lines: Iterable[bytes]) -> None:
        """A head with these field lines was accepted."""
        if len(self.lines) >= self._most_lines:
            self.lines.clear()
        self.lines.update(line for line in lines if len(line) <= LINE_BYTES)

    def learn_start(self, line: bytes, start: S) -> None:
        """A first line was accepted."""
        if len(line) <= START_BYTES:
            remember(self.starts, line, start, STARTS)

    def learn_block(self, raw: bytes, block: B) -> None:
        """These fields say that."""
        if len(raw) <= BLOCK_BYTES:
            remember(self.blocks, raw, block, self._most_blocks)
