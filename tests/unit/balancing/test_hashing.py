"""Hashes are the same in every process, and spread what is alike."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.balancing.hashing import address_fold, digest, hash_32, mixed, shares

CHECKOUT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("address", "folded"),
    [
        ("0.0.0.1", 1),
        ("192.0.2.7", 0xC0000207),
        ("::1", 1),
        ("2001:db8::7", 0x20010DB8 ^ 7),
        ("1:2:3:4:5:6:7:8", 0x00010002 ^ 0x00030004 ^ 0x00050006 ^ 0x00070008),
        ("123456789", 0xCBF43926),  # the check value of CRC-32
    ],
)
def test_addresses_are_folded_as_in_the_kernel(address: str, folded: int) -> None:
    assert address_fold(address) == folded


@given(st.text())
def test_any_words_of_a_trusted_proxy_are_folded(text: str) -> None:
    assert 0 <= address_fold(text) <= 0xFFFF_FFFF


@given(st.integers(0, 0xFFFF_FFFF), st.integers(1, 16))
def test_hash_32_is_the_upper_bits_of_the_product(value: int, bits: int) -> None:
    product = bin(value * 0x61C88647)[2:].rjust(64, "0")[-32:]
    assert hash_32(value, bits) == int(product[:bits], 2)


def test_hashes_do_not_depend_on_the_process() -> None:
    code = "from ingressd.balancing.hashing import *; print(digest('10.0.0.1:80'), mixed(1, 2), address_fold('x'))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{digest('10.0.0.1:80')} {mixed(1, 2)} {address_fold('x')}\n".encode()}


def test_one_bit_of_either_digest_changes_half_of_the_mixed_bits() -> None:
    for bit in range(64):
        changed = mixed(digest("client") ^ 1 << bit, digest("10.0.0.1:80")) ^ mixed(
            digest("client"), digest("10.0.0.1:80")
        )
        assert changed.bit_count() >= 8


@given(st.lists(st.integers(1, 65_535), min_size=1, max_size=20), st.integers(100, 5000))
def test_shares_keep_the_proportions_and_fit(weights: list[int], slots: int) -> None:
    parts = shares(weights, slots)
    assert min(parts) >= 1
    assert sum(parts) <= slots + len(parts)
    for weight, part in zip(weights, parts, strict=True):
        assert part * sum(weights) <= weight * max(slots, sum(parts)) or part == 1
    assert shares([each * 7 for each in parts], slots * 2) == shares(parts, slots * 2)
