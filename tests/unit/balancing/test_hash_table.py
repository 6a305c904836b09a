"""sh and dh against tables that are filled and read as the kernel says."""

from __future__ import annotations

import ipaddress
import zlib
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.balancing.targets import Request, Target, clients, scheduler, targets


def _bucket(number: int) -> int:
    """One of 256: the top byte of the product with the golden ratio."""
    return (number * 0x61C88647 % 2**32) >> 24


def _sh_table(weights: dict[Target, int]) -> list[Target]:
    table: list[Target] = []
    while len(table) < 256:
        for target, weight in sorted(weights.items(), key=lambda each: each[0].key):
            table += [target] * weight
    return table[:256]


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=9), st.ip_addresses(v=4))
def test_sh_finds_what_the_kernel_finds(weights: list[int], client: ipaddress.IPv4Address) -> None:
    weights[0] = 1  # in lowest terms
    served = targets(*weights)
    assert scheduler("sh", served).pick((), Request(str(client))) is _sh_table(served)[_bucket(int(client))]


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=9), st.ip_addresses(v=4))
def test_sh_falls_back_to_where_the_kernel_falls_back(weights: list[int], client: ipaddress.IPv4Address) -> None:
    weights[0] = 1
    served = targets(*weights)
    table, bucket = _sh_table(served), _bucket(int(client))
    walk = [table[(2 * bucket + offset) % 256] for offset in range(256)]
    expected = next(target for target in walk if target is not table[bucket])
    assert scheduler("sh", served).pick((table[bucket],), Request(str(client))) is expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=9), st.from_regex(r"[a-z]{1,9}\.example", fullmatch=True))
def test_dh_goes_by_the_host_and_knows_no_weights(weights: list[int], host: str) -> None:
    served = targets(*weights)
    expected = [*served][_bucket(zlib.crc32(host.encode())) % len(served)]
    made = scheduler("dh", served)
    assert {made.pick((), Request(client, host)) for client in ("10.0.0.1", "10.9.9.9")} == {expected}


def test_sh_does_not_look_at_the_host() -> None:
    made = scheduler("sh", targets(1, 1, 1))
    assert len({made.pick((), Request("10.0.0.1", host)) for host in ("a", "b", "c", "d", "e")}) == 1


def test_clients_are_spread_by_weight() -> None:
    served = targets(3, 2, 1)
    made = scheduler("sh", served)
    seen = Counter(made.pick((), request) for request in clients(12_000))
    for target, weight in served.items():
        assert abs(seen[target] / 12_000 - weight / 6) < 0.02


def test_the_table_grows_with_the_weights_and_leaves_nobody_out() -> None:
    for weights in ([1] * 300, [1000, 999, 1], [65_535, 65_534, 65_533, 1]):
        served = targets(*weights)
        made = scheduler("sh", served)
        tried: tuple[Target, ...] = ()
        while (target := made.pick(tried, Request())) is not None:
            tried += (target,)
        assert len(tried) == len(weights)


def test_a_weight_that_all_share_is_no_weight() -> None:
    many, few = targets(100, 100, 100), targets(1, 1, 1)
    made, other = scheduler("sh", many), scheduler("sh", few)
    for request in clients(100):
        assert made.pick((), request).key == other.pick((), request).key
