"""Simulations are the same each time, add up, and show what the schedulers are known for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from ingressd.balancing.registry import SCHEDULERS
from ingressd.balancing.simulation import Outcome, Place, Scenario, simulate

THREE = (Place(), Place(), Place())


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_scenario_has_the_same_outcome(name: str) -> None:
    scenario = Scenario(name, (Place(3), Place(1, 0.02), Place(1)), requests=500, leaves=2)
    assert simulate(scenario) == simulate(scenario)
    assert simulate(scenario).mean_s != simulate(replace(scenario, seed=2)).mean_s


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_request_is_picked_for(name: str) -> None:
    outcome = simulate(Scenario(name, THREE, requests=500))
    assert [share.picks for share in outcome.shares] == [outcome.picks.count(number) for number in (1, 2, 3)]
    assert len(outcome.picks) == sum(share.picks for share in outcome.shares) == 500
    assert 0 < outcome.mean_s < outcome.p99_s


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_endpoint_that_has_left_gets_nothing(name: str) -> None:
    outcome = simulate(Scenario(name, THREE, requests=600, leaves=2))
    assert 2 in outcome.picks[:300]
    assert 2 not in outcome.picks[300:]
    assert outcome.displaced > 0


def test_when_the_only_endpoint_leaves_there_is_none() -> None:
    outcome = simulate(Scenario("rr", (Place(),), requests=10, leaves=1))
    assert outcome.picks == (1,) * 5 + (0,) * 5


def _of(name: str, *places: Place) -> Outcome:
    return simulate(Scenario(name, places, requests=3000))


def test_all_that_look_at_the_load_answer_sooner_than_those_that_do_not() -> None:
    slow = (Place(), Place(), Place(answer_s=0.05))
    blind = min(_of(name, *slow).mean_s for name in ("rr", "random"))
    for name in ("lc", "wlc", "sed", "nq", "p2c", "ewma"):
        assert _of(name, *slow).mean_s < blind / 2, name


def test_wrr_gives_each_its_weight() -> None:
    assert Counter(_of("wrr", Place(4), Place(2), Place(1), Place(3)).picks) == {1: 1200, 2: 600, 3: 300, 4: 900}


@pytest.mark.parametrize("name", ["sh", "maglev"])
def test_clients_do_not_move_while_endpoints_stay(name: str) -> None:
    assert simulate(Scenario(name, THREE)).moved == 0


def test_when_an_endpoint_leaves_maglev_and_affinity_move_hardly_anybody() -> None:
    ten = (Place(),) * 10
    moved = {name: simulate(Scenario(name, ten, leaves=3, requests=4000)).moved for name in ("sh", "maglev", "rr")}
    kept = simulate(Scenario("rr", ten, leaves=3, requests=4000, affinity_s=60))
    assert kept.moved == 0
    assert kept.displaced > 0
    assert moved["maglev"] <= 10
    assert moved["sh"] > 40
    assert moved["rr"] > 95


def test_another_scheduler_gets_the_same_requests() -> None:
    one = (Place(),)
    assert len({simulate(Scenario(name, one)).mean_s for name in SCHEDULERS}) == 1
