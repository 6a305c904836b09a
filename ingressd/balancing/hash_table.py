"""Hash tables of IPVS: sh sends a client to the same target each time, dh all requests for a destination.

A table of 256 buckets, or more where the weights need them, is filled with the targets in the order of their addresses,
which is the same in every worker. When a target leaves, the buckets behind it shift: most clients move (maglev is for
those who mind).
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Generic

from ingressd.balancing.base import Request, T
from ingressd.balancing.hashing import address_fold, hash_32, shares

BITS = 8
"""IP_VS_SH_TAB_BITS and IP_VS_DH_TAB_BITS."""
BITS_MAX = 16


class HashTable(Generic[T]):
    """A table of buckets, and how one is found."""

    __slots__ = ("_bits", "_table")

    def __init__(self, dice: random.Random) -> None:
        """No chance is in it."""
        self._bits = BITS
        self._table: Sequence[T] = ()

    def update(self, targets: Mapping[T, int]) -> None:
        """Fill the table anew: nothing is known but who they are."""
        served = sorted(((target, weight) for target, weight in targets.items() if weight > 0), key=_key)
        parts = shares([weight for _, weight in served], 1 << BITS_MAX)
        self._bits = min(max(BITS, (self.buckets(parts) - 1).bit_length()), BITS_MAX)
        turns = self.turns([target for target, _ in served], parts)
        self._table = tuple(islice(cycle(turns), 1 << self._bits)) if served else ()

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The bucket's target, or the next one that was not tried: where the kernel looks with its flag fallback."""
        table = self._table
        if not table:
            return None
        place = hash_32(self.number(request), self._bits)
        target = table[place]
        if target not in tried:
            return target
        if all(each in tried for each in {*table}):
            return None
        start = 2 * place
        size = len(table)
        return next(each for offset in range(size) if (each := table[(start + offset) % size]) not in tried)

    def buckets(self, parts: Sequence[int]) -> int:
        """How many buckets give each target its part."""
        raise NotImplementedError

    def turns(self, targets: Sequence[T], parts: Sequence[int]) -> Iterator[T]:
        """In which order they fill the table."""
        raise NotImplementedError

    def number(self, request: Request) -> int:
        """What of a request is hashed: 32 bits."""
        raise NotImplementedError


class SourceHash(HashTable[T]):
    """By the client's address; each target has as many buckets in a row as its weight."""

    __slots__ = ()

    def buckets(self, parts: Sequence[int]) -> int:
        """See HashTable."""
        return sum(parts)

    def turns(self, targets: Sequence[T], parts: Sequence[int]) -> Iterator[T]:
        """See HashTable."""
        return (target for target, part in zip(targets, parts, strict=True) for _ in range(part))

    def number(self, request: Request) -> int:
        """See HashTable."""
        return address_fold(request.client_address)


class DestinationHash(HashTable[T]):
    """By the host that was asked for, which is what a destination address is to an HTTP proxy; without weights."""

    __slots__ = ()

    def buckets(self, parts: Sequence[int]) -> int:
        """See HashTable."""
        return len(parts)

    def turns(self, targets: Sequence[T], parts: Sequence[int]) -> Iterator[T]:
        """See HashTable."""
        return iter(targets)

    def number(self, request: Request) -> int:
        """See HashTable."""
        return zlib.crc32(request.host.encode())


def _key(served: tuple[T, int]) -> str:
    return served[0].key
