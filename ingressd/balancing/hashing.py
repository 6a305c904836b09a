"""Hashes that are the same in every process and on every machine, and the shares of a table that weights ask for."""

from __future__ import annotations

import math
import socket
import zlib
from collections.abc import Sequence
from hashlib import blake2b

BITS_32 = 0xFFFF_FFFF
BITS_64 = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN_32 = 0x61C8_8647
_GOLDEN_64 = 0x9E37_79B9_7F4A_7C15
_MIX_64 = 0xD6E8_FEB8_6659_FD93


def digest(text: str, salt: bytes = b"") -> int:
    """64 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, salt=salt).digest(), "little")


def mixed(one: int, other: int) -> int:
    """64 bits that depend on all bits of both digests; quicker than a digest of both."""
    value = ((one ^ other) * _GOLDEN_64) & BITS_64
    value = ((value ^ (value >> 32)) * _MIX_64) & BITS_64
    return value ^ (value >> 32)


def address_fold(text: str) -> int:
    """An IP address as the kernel folds it for its tables: an IPv4 address as a number, the words of an IPv6 one XORed.

    What is no address, as odd words of a trusted proxy may be, is a checksum.
    """
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):
        pass
    try:
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return zlib.crc32(text.encode())
    folded = 0
    for start in range(0, 16, 4):
        folded ^= int.from_bytes(packed[start : start + 4], "big")
    return folded


def hash_32(value: int, bits: int) -> int:
    """The kernel's hash_32: the upper `bits` of a product."""
    return ((value * _GOLDEN_32) & BITS_32) >> (32 - bits)


def shares(weights: Sequence[int], slots: int) -> list[int]:
    """The weights in lowest terms, and small enough for all of them to fit into `slots` slots. Each is 1 or more."""
    step = math.gcd(*weights) or 1
    lowest = [weight // step for weight in weights]
    total = sum(lowest)
    return lowest if total <= slots else [max(1, weight * slots // total) for weight in lowest]
