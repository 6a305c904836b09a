"""Rendezvous hashing: which of some endpoints a key belongs to, the same in every process.

Each endpoint has a score for each key, and the best has it: when one leaves, only its keys move, and each to another
one. Precedent: Thaler and Ravishankar, A Name-Based Mapping Scheme for Rendezvous (1996).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from heapq import nlargest

from ingressd.filters.base import E

KEYS = 65_536
"""Digests of endpoints that are kept, about 10 MiB when there are so many."""
_BITS_64 = 0xFFFF_FFFF_FFFF_FFFF
_MIX = 0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93


def digest(text: str, key: bytes = b"") -> int:
    """64 bits."""
    own = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8, key=key[:64])
    return int.from_bytes(own.digest(), "little")


@lru_cache(KEYS)
def _of_endpoint(key: str) -> int:
    return digest(key)


def best(key: str, endpoints: Sequence[E], tried: Collection[E] = ()) -> E | None:
    """The endpoint that has `key`, of those that are not in `tried`."""
    number = digest(key)
    found, most = None, -1
    for endpoint in endpoints:
        score = _score(number, endpoint.key)
        if score > most and endpoint not in tried:
            found, most = endpoint, score
    return found


def several(key: str, endpoints: Sequence[E], count: int) -> list[E]:
    """The `count` best: most of them stay the same when an endpoint comes or goes."""
    number = digest(key)
    return nlargest(count, endpoints, key=lambda endpoint: _score(number, endpoint.key))


def _score(number: int, endpoint: str) -> int:
    value = ((number ^ _of_endpoint(endpoint)) * _MIX[0]) & _BITS_64
    value = ((value ^ (value >> 32)) * _MIX[1]) & _BITS_64
    return value ^ (value >> 32)
