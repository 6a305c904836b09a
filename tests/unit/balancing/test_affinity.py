"""ClientIP: a client stays, workers agree, and memory is bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.balancing.affinity import CLIENTS, ClientAffinity
from tests.unit.balancing.targets import Request, Target, clients, even, targets

TIMEOUT_S = 100


def affinity(served: dict[Target, int], bound: int = CLIENTS) -> ClientAffinity[Target]:
    made: ClientAffinity[Target] = ClientAffinity(TIMEOUT_S, bound)
    made.update(served)
    return made


def test_a_client_stays() -> None:
    made = affinity(targets(1, 1, 1))
    for request in clients(50):
        first = made.pick((), request)
        assert {made.pick((), Request(request.client_address, began=request.began + n)) for n in range(9)} == {first}


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (3, 1, 1), (5, 2, 2, 1)])
def test_clients_are_spread_by_weight(weights: tuple[int, ...]) -> None:
    served = targets(*weights)
    made = affinity(served)
    assert even(Counter(made.pick((), request) for request in clients(20_000)), served)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 8), st.data())
def test_when_a_target_leaves_only_its_clients_move_and_all_workers_agree(count: int, data: st.DataObject) -> None:
    served = targets(*[1] * count)
    gone = [*served][data.draw(st.integers(0, count - 1))]
    everybody = clients(200)
    worker, other = affinity(served), affinity(served)
    before = [worker.pick((), request) for request in everybody]
    for each in (worker, other):
        each.update({target: 1 for target in served if target is not gone})
    after = [worker.pick((), request) for request in everybody]
    assert all(new is old for old, new in zip(before, after, strict=True) if old is not gone)
    assert after == [other.pick((), request) for request in everybody], "it has never seen any of them before"


def test_when_a_target_comes_known_clients_stay_until_they_have_been_away() -> None:
    served = targets(1, 1, 1)
    everybody = clients(500)
    worker, other = affinity(served), affinity(served)
    before = [worker.pick((), request) for request in everybody]
    new = Target("10.0.9.9:80")
    for each in (worker, other):
        each.update({**served, new: 1})
    assert [worker.pick((), request) for request in everybody] == before
    unknown = [other.pick((), request) for request in everybody]
    moved = [now for old, now in zip(before, unknown, strict=True) if old is not now]
    assert {*moved} == {new}, "a worker that does not know a client can send it to the new one only, or to its own"
    assert abs(len(moved) / len(everybody) - 1 / 4) < 0.06
    later = [Request(request.client_address, began=request.began + TIMEOUT_S + 1000) for request in everybody]
    assert [worker.pick((), request) for request in later] == unknown


def test_each_request_begins_the_timeout_anew() -> None:
    served = targets(1, 1, 1)
    one = Request(began=0.0)
    made = affinity(served)
    own = made.pick((), one)
    heavy = next(target for target in served if target is not own)
    made.update({**served, heavy: 65_535})  # a client that is not known goes there
    for now in range(0, 10 * TIMEOUT_S, TIMEOUT_S - 1):
        assert made.pick((), Request(began=float(now))) is own
    assert made.pick((), Request(began=float(now + TIMEOUT_S))) is heavy


def test_while_its_own_target_does_not_answer_a_client_gets_another_one_and_comes_back() -> None:
    made = affinity(targets(1, 1, 1))
    one = Request()
    own = made.pick((), one)
    assert own is not None
    other = made.pick((own,), one)
    assert other not in (None, own)
    assert made.pick((own,), one) is other
    assert made.pick((), one) is own


def test_the_one_that_was_away_longest_is_forgotten_first() -> None:
    served = targets(1, 1)
    made = affinity(served, bound=100)
    first, second, *others = clients(102)
    homes = {request: made.pick((), request) for request in (first, second, *others[:98])}
    made.pick((), first)
    for request in others[98:]:
        homes[request] = made.pick((), request)
    assert len(made) == 100
    heavy = Target("10.0.9.9:80")
    made.update({**served, heavy: 10**9})  # whoever is not known goes there
    known = [first, *others[1:]]
    assert [made.pick((), request) for request in known] == [homes[request] for request in known]
    assert {made.pick((), request) for request in (second, others[0])} == {heavy}
    assert len(made) == 100


def test_clients_of_a_target_that_has_left_are_forgotten_at_once() -> None:
    served = targets(1, 1, 1)
    made = affinity(served)
    seen = Counter(made.pick((), request) for request in clients(300))
    gone = next(iter(served))
    made.update({target: 1 for target in served if target is not gone})
    assert len(made) == 300 - seen[gone]


def test_no_client_is_remembered_while_there_is_no_target() -> None:
    made = affinity({})
    assert made.pick((), Request()) is None
    assert len(made) == 0
