"""A delta turns one snapshot into the other, and holds no more than what changed."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.route import VirtualHost
from ingressd.table.snapshot import Snapshot, apply, diff

names = st.sampled_from(["a", "b", "c", "d"])
hosts = st.dictionaries(names, st.builds(VirtualHost, name=names, routes=st.just(()), tls=st.booleans()))
endpoints = st.builds(Endpoint, address=st.sampled_from(["10.0.0.1", "::1"]), port=st.integers(1, 3))
pools = st.dictionaries(
    names,
    st.builds(
        Pool,
        id=names,
        namespace=st.just("n"),
        service=st.just("s"),
        port=st.just("80"),
        endpoints=st.lists(endpoints, max_size=3).map(tuple),
    ),
)


@given(hosts, pools, hosts, pools)
def test_a_delta_turns_the_old_snapshot_into_the_new_one(
    old_hosts: dict[str, VirtualHost],
    old_pools: dict[str, Pool],
    new_hosts: dict[str, VirtualHost],
    new_pools: dict[str, Pool],
) -> None:
    old = Snapshot(generation=1, hosts=old_hosts, pools=old_pools)
    new = Snapshot(generation=2, hosts=new_hosts, pools=new_pools)
    delta = pickle.loads(pickle.dumps(diff(old, new)))
    assert apply(old, delta) == new
    assert not set(delta.hosts) & {name for name in new_hosts if old_hosts.get(name) == new_hosts[name]}
    assert diff(new, new).empty


def test_a_delta_for_another_generation_is_refused() -> None:
    delta = diff(Snapshot(generation=1), Snapshot(generation=2))
    with pytest.raises(ValueError, match="generation 1"):
        apply(Snapshot(generation=7), delta)


def test_an_endpoint_key_brackets_ipv6() -> None:
    assert Endpoint("::1", 80).key == "[::1]:80"
    assert Endpoint("10.0.0.1", 80).key == "10.0.0.1:80"
