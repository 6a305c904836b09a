"""Node ports that nobody has written: the same after a restart, never one that is written, none moved by an edit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingressd.compile.node_ports import FIRST, LAST, PortKey, node_ports

keys = st.lists(
    st.builds(
        PortKey,
        namespace=st.sampled_from(["a", "b"]),
        service=st.text("xyz", min_size=1, max_size=3),
        port=st.integers(1, 3),
        protocol=st.sampled_from(["TCP", "UDP"]),
    ),
    unique=True,
)
written = st.sets(st.integers(FIRST - 2, LAST + 2), max_size=200)
WHOLE_RANGE = LAST - FIRST + 1


@given(keys, written, st.randoms())
def test_the_same_services_get_the_same_ports_in_any_order(
    wanting: list[PortKey], taken: set[int], dice: object
) -> None:
    given_ports = node_ports(wanting, taken, {})
    dice.shuffle(wanting)  # type: ignore[attr-defined]
    assert node_ports(wanting, taken, {}) == given_ports
    assert given_ports.keys() == {*wanting}
    assert len({*given_ports.values()}) == len(wanting)
    assert not taken & {*given_ports.values()}
    assert all(FIRST <= port <= LAST for port in given_ports.values())


@given(keys, keys, written)
def test_an_edit_moves_no_port_but_one_that_somebody_writes(
    before: list[PortKey], after: list[PortKey], taken: set[int]
) -> None:
    given_ports = node_ports(before, (), {})
    again = node_ports(after, taken, given_ports)
    for key in {*before} & {*after}:
        assert again[key] == given_ports[key] or given_ports[key] in taken


def test_a_range_that_is_full_gives_no_more() -> None:
    wanting = [PortKey("a", f"s{number}", 80, "TCP") for number in range(WHOLE_RANGE + 5)]
    given_ports = node_ports(wanting, [FIRST], {})
    assert len(given_ports) == WHOLE_RANGE - 1
    assert len({*given_ports.values()}) == WHOLE_RANGE - 1
