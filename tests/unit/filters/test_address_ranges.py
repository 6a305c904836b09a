"""Sets of addresses: what is in them, however they are written."""

from __future__ import annotations

import ipaddress
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.address_ranges import AddressRanges, packed_address


def _holds(text: str, address: str) -> bool:
    packed = packed_address(address)
    assert packed is not None
    return AddressRanges.parse(text).hold(packed)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("10.1.2.3/8", "10.0.0.0", "9.255.255.255"),
        (" 10.0.0.0/8 ,, 192.0.2.0/24 ", "192.0.2.255", "192.0.3.0"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.9"),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
        ("2001:DB8::1", "2001:db8:0::1", "2001:db8::2"),
        ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
        ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1"),
        ("10.0.0.0/9,10.128.0.0/9,10.0.0.0/30", "10.128.0.0", "11.0.0.0"),
    ],
)
def test_an_address_is_among_the_networks_or_not(text: str, inside: str, outside: str) -> None:
    assert _holds(text, inside)
    assert not _holds(text, outside)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "10.0.0.0/33",
        "10.0.0",
        "010.0.0.1",
        "all",
        "a.test",
        "10.0.0.0-10.0.0.9",
        "fe80::1%eth0",
        "1/8",
        "::1/129",
    ],
)
def test_what_is_no_network_says_what_it_must_be(text: str) -> None:
    with pytest.raises(ValueError, match=r'^addresses or networks with commas between them, as in "10\.0\.0\.0/8'):
        AddressRanges.parse(text)


@pytest.mark.parametrize("text", ["unknown", "", "a.test", "10.0.0.1:80", "1", "[::1]", "10.0.0.1\0"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert packed_address(text) is None


_networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(20, 32)).map(
    lambda drawn: ipaddress.ip_network(drawn, strict=False)
)


@given(st.lists(_networks, min_size=1, max_size=30), st.data())
def test_ranges_say_the_same_as_the_networks_one_by_one(
    networks: list[ipaddress.IPv4Network], data: st.DataObject
) -> None:
    ranges = AddressRanges.parse(",".join(map(str, networks)))
    edges = [int(network[place]) + shift for network in networks for place in (0, -1) for shift in (-1, 0, 1)]
    number = data.draw(st.sampled_from([edge for edge in edges if 0 <= edge < 2**32]) | st.integers(0, 2**32 - 1))
    address = ipaddress.IPv4Address(number)
    assert ranges.hold(address.packed) is any(address in network for network in networks)


def test_networks_that_touch_are_one_range_and_it_travels() -> None:
    ranges = AddressRanges.parse(",".join(f"10.0.{number}.0/24" for number in range(256)))
    assert (ranges.count, len(ranges.v4.first)) == (256, 1)
    assert pickle.loads(pickle.dumps(ranges)) == ranges
