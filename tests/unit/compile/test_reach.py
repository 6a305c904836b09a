"""Reach: link-local addresses and metadata services in every spelling, and what the operator allows of them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.reach import Reach

NOTHING_ALLOWED = Reach(())

REFUSED = {
    "169.254.169.254": "link-local",
    "169.254.170.2": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "febf:ffff::1": "link-local",
    "fd00:ec2::254": "a metadata service",
    "fd00:ec2::23": "a metadata service",
    "fd20:ce::254": "a metadata service",
    "168.63.129.16": "a metadata service",
    "100.100.100.200": "a metadata service",
    "192.0.0.192": "a metadata service",
    "0.0.0.0": "this machine itself",
    "0.255.255.255": "this machine itself",
    "::": "this machine itself",
}
NEIGHBOURS = [
    "169.253.255.255",
    "169.255.0.0",
    "fec0::1",
    "fe7f:ffff::1",
    "fd20:ce::253",
    "fd00:ec3::254",
    "168.63.129.15",
    "168.63.129.17",
    "100.100.100.199",
    "192.0.0.191",
    "1.0.0.0",
]


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """IPv6 addresses that a kernel or a translator takes for `address`."""
    octets = address.packed

    def spelt(form: str) -> str:
        """`form` in hexadecimal; w, x, y and z stand for the octets."""
        packed = bytes.fromhex(
            form.translate({ord(letter): f"{octet:02x}" for letter, octet in zip("wxyz", octets, strict=True)})
        )
        return str(ipaddress.IPv6Address(packed))

    return [
        spelt("00" * 12 + "wxyz"),  # IPv4-compatible
        spelt("00" * 10 + "ffff" + "wxyz"),  # IPv4-mapped
        spelt("00" * 8 + "ffff0000" + "wxyz"),  # IPv4-translated
        spelt("0064ff9b" + "00" * 8 + "wxyz"),  # NAT64
        spelt("0064ff9b0001" + "wx00yz" + "00" * 5),  # local NAT64 in its lengths
        spelt("0064ff9b0001aa" + "w00xyz" + "00" * 4),
        spelt("0064ff9b0001aabb" + "00wxyz" + "00" * 3),
        spelt("0064ff9b0001aabb" + "00000000" + "wxyz"),
        spelt("2002" + "wxyz" + "00" * 10),  # 6to4
        spelt("20010000" + "wxyz" + "00" * 8),  # Teredo: the server's
        str(ipaddress.IPv6Address(bytes.fromhex("20010000" + "00" * 8) + bytes(255 - octet for octet in octets))),
        spelt("20010db800000000" + "00005efe" + "wxyz"),  # ISATAP
        spelt("20010db800000000" + "02005efe" + "wxyz"),
    ]


@pytest.mark.parametrize("address", REFUSED)
def test_metadata_services_and_link_local_addresses_are_refused_and_named(address: str) -> None:
    assert NOTHING_ALLOWED.refusal(address) == NOTHING_ALLOWED.refusal(address, external_name=True) == REFUSED[address]


@pytest.mark.parametrize("address", NEIGHBOURS)
def test_their_neighbours_are_reached(address: str) -> None:
    assert NOTHING_ALLOWED.refusal(address, external_name=True) == ""


@pytest.mark.parametrize(
    "spelling",
    [
        spelling
        for address in REFUSED
        if address.count(".") == 3 and not address.startswith("0.")
        for spelling in spellings(ipaddress.IPv4Address(address))
    ],
)
def test_no_ipv6_spelling_of_a_refused_address_is_a_way_to_it(spelling: str) -> None:
    assert NOTHING_ALLOWED.refusal(spelling) in ("link-local", "a metadata service")


@pytest.mark.parametrize("spelling", spellings(ipaddress.IPv4Address("10.0.0.1")))
def test_the_same_spelling_of_another_address_is_reached(spelling: str) -> None:
    assert NOTHING_ALLOWED.refusal(spelling, external_name=True) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_refused_to_an_external_name_alone(address: str) -> None:
    assert NOTHING_ALLOWED.refusal(address, external_name=True) == "loopback"
    assert NOTHING_ALLOWED.refusal(address) == ""


def test_an_ipv4_address_that_the_kernel_reads_out_of_ipv6_is_this_machine_too() -> None:
    assert NOTHING_ALLOWED.refusal("::ffff:0.0.0.0") == "this machine itself"


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.integers(min_value=8, max_value=32))
def test_what_the_operator_allows_is_reached_in_every_spelling(
    address: ipaddress.IPv4Address, prefix_length: int
) -> None:
    network = ipaddress.ip_network((address, prefix_length), strict=False)
    reach = Reach([str(network)])
    assert reach.refusal(str(address), external_name=True) == ""
    assert reach.refusal(f"::ffff:{address}", external_name=True) == ""


@pytest.mark.parametrize("spelling", spellings(ipaddress.IPv4Address("169.254.169.254")))
def test_an_address_is_allowed_as_it_is_written_or_as_what_it_means(spelling: str) -> None:
    assert Reach(["169.254.0.0/16"]).refusal(spelling) == ""
    assert Reach([f"{spelling}/128"]).refusal(spelling) == ""
    assert Reach(["169.254.169.253/32", "fe80::/10"]).refusal(spelling) == "link-local"


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(), st.ip_addresses(network="169.254.0.0/16"), st.ip_addresses(network="fe80::/10")))
def test_whatever_is_link_local_or_unspecified_is_refused(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_link_local or address.is_unspecified:
        assert NOTHING_ALLOWED.refusal(str(address)) != ""
