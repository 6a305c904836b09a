"""What every scheduler owes: nothing tried twice, nothing of weight 0, and the same targets after an update."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.balancing.affinity import ClientAffinity
from ingressd.balancing.base import Scheduler
from ingressd.balancing.registry import SCHEDULERS, Factory
from tests.unit.balancing.targets import ONE, Request, Target, clients, targets

MADE: dict[str, Factory] = {**SCHEDULERS, "affinity": lambda _: ClientAffinity(60)}
WEIGHTS = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@pytest.fixture(params=MADE)
def factory(request: pytest.FixtureRequest) -> Factory:
    return MADE[request.param]


def _made(factory: Factory, served: dict[Target, int], seed: int = 1) -> Scheduler[Target]:
    made: Scheduler[Target] = factory(random.Random(seed))
    made.update(served)
    return made


def test_the_schedulers_of_ipvs_and_four_more_have_names() -> None:
    assert [*SCHEDULERS] == ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "random", "p2c", "ewma", "maglev"]


def test_every_scheduler_says_in_its_first_line_what_it_does() -> None:
    lines = [(each.__doc__ or "").splitlines()[0] for each in SCHEDULERS.values()]
    assert len({*lines}) == len(lines)
    assert all(line.endswith(".") for line in lines)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", MADE)
def test_each_attempt_of_a_request_gets_another_target_until_there_is_none(name: str, data: st.DataObject) -> None:
    served = targets(*data.draw(WEIGHTS))
    for target in served:
        target.active = data.draw(st.integers(0, 5))
    made = _made(MADE[name], served)
    for _ in range(data.draw(st.integers(0, 5))):
        made.pick((), ONE)
    tried: tuple[Target, ...] = ()
    while (target := made.pick(tried, ONE)) is not None:
        assert target not in tried
        assert served[target] > 0
        tried += (target,)
    assert {*tried} == {target for target, weight in served.items() if weight}


def test_without_targets_nothing_is_picked(factory: Factory) -> None:
    made = _made(factory, {})
    assert made.pick((), ONE) is None
    made.update(targets(0, 0))
    assert made.pick((), ONE) is None
    assert made.pick((Target("10.9.9.9:80"),), ONE) is None


def test_a_target_of_weight_zero_takes_nothing(factory: Factory) -> None:
    served = targets(1, 0, 1)
    made = _made(factory, served)
    picked = {made.pick((), request) for request in clients(300)}
    assert picked == {target for target, weight in served.items() if weight}


def test_a_target_that_has_left_takes_nothing_any_more(factory: Factory) -> None:
    served = targets(1, 1, 1)
    made = _made(factory, served)
    for request in clients(50):
        made.pick((), request)
    gone = [*served][1]
    made.update({target: weight for target, weight in served.items() if target is not gone})
    assert gone not in {made.pick((), request) for request in clients(50)}
    assert gone not in {made.pick((next(iter(served)),), request) for request in clients(50)}


def test_a_target_whose_weight_becomes_zero_takes_nothing_any_more(factory: Factory) -> None:
    served = targets(1, 1, 1)
    made = _made(factory, served)
    for request in clients(50):
        made.pick((), request)
    drained = [*served][1]
    made.update({**served, drained: 0})
    assert drained not in {made.pick((), request) for request in clients(50)}


def test_what_was_tried_may_have_left_meanwhile(factory: Factory) -> None:
    served = targets(1, 1)
    made = _made(factory, served)
    gone = made.pick((), ONE)
    assert gone is not None
    stays = next(target for target in served if target is not gone)
    made.update({stays: 1})
    assert made.pick((gone,), ONE) is stays
    assert made.pick((gone, stays), ONE) is None


def test_the_same_seed_makes_the_same_picks(factory: Factory) -> None:
    def run() -> list[str]:
        served = targets(3, 1, 2, 1)
        made = _made(factory, served, seed=7)
        picked = []
        for request in clients(200):
            target = made.pick((), request)
            assert target is not None
            target.active = (target.active + 1) % 4
            picked.append(target.key)
        return picked

    assert run() == run()


def test_a_second_attempt_takes_nobodys_turn(factory: Factory) -> None:
    with_retries, without = (_made(factory, targets(2, 1, 1), seed=3) for _ in range(2))
    draws = factory in (MADE["random"], MADE["p2c"], MADE["ewma"])  # each draw is independent of those before it
    for request in clients(400):
        first = with_retries.pick((), request)
        expected = without.pick((), request)
        assert first is not None
        assert expected is not None
        assert with_retries.pick((first,), request) not in (None, first)
        assert draws or first.key == expected.key


def test_an_update_that_changes_nothing_is_not_noticed(factory: Factory) -> None:
    served = targets(3, 1, 2)
    steady, reloaded = (_made(factory, served, seed=5) for _ in range(2))
    for request in clients(100):
        assert steady.pick((), request) is reloaded.pick((), request)
        reloaded.update(dict(served))


@pytest.mark.parametrize("name", ["sh", "maglev", "affinity"])
def test_workers_that_cannot_ask_each_other_send_a_client_to_the_same_target(name: str) -> None:
    served = targets(3, 1, 2, 1)
    turned = dict(reversed(served.items()))  # discovery may name them in another order
    one, other = _made(MADE[name], served, seed=1), _made(MADE[name], turned, seed=2)
    for client in ("192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7", "unknown", "_hidden", "", "ümlaut"):
        assert one.pick((), Request(client)) is other.pick((), Request(client))
