from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from ingressd.balancing.registry import SCHEDULERS


def test_all_schedulers_are_compared(ingressd: Any) -> None:
    done = ingressd("simulate", "--requests", "200", "--weights", "2,1", "--answer-ms", "10,10,40")
    assert (done.code, done.err) == (0, "")
    title, *rows = done.out.splitlines()
    assert title.split("  ")[0] == "SCHEDULER"
    assert "1 (WEIGHT 2, 10 MS)" in title
    assert "3 (WEIGHT 1, 40 MS)" in title
    assert [row.split()[0] for row in rows] == [*SCHEDULERS]


def test_one_scheduler_shows_its_picks(ingressd: Any) -> None:
    done = ingressd("simulate", "--scheduler", "wrr", "--requests", "70", "--endpoints", "3", "--weights", "4,2,1")
    assert done.out.startswith("wrr: in turn, each as often as its weight\n")
    rows = [line.split() for line in done.out.splitlines() if line[:1] in ("1", "2", "3")]
    assert [row[3] for row in rows] == ["40", "20", "10"]
    assert "the first picks: " in done.out


def test_the_same_command_prints_the_same_also_as_another_process(ingressd: Any, program: Any) -> None:
    arguments = ("simulate", "--requests", "300", "--seed", "42", "--leaves", "2", "--weights", "3,2,1")
    first = program(*arguments)
    assert (first.code, first.err) == (0, "")
    assert program(*arguments).out == first.out == ingressd(*arguments).out
    assert ingressd(*arguments[:4], "43", *arguments[5:]).out != first.out


@pytest.mark.parametrize(("mode", "name"), [("iptables", "random"), ("nftables", "random"), ("ipvs", "rr")])
def test_a_mode_of_kube_proxy_is_its_scheduler(ingressd: Any, mode: str, name: str) -> None:
    assert ingressd("simulate", "--proxy-mode", mode).out.startswith(f"{name}: ")


def test_a_scheduler_wins_over_the_mode(ingressd: Any) -> None:
    assert ingressd("simulate", "--proxy-mode", "iptables", "--scheduler", "sed").out.startswith("sed: ")


def test_an_endpoint_that_leaves_moves_its_clients_only_with_affinity(ingressd: Any) -> None:
    out = ingressd("simulate", "--leaves", "2", "--affinity", "60", "--clients", "50").out
    assert "endpoint 2 left half-way: " in out
    assert "of 50 clients 0 moved though their endpoint was there" in out


def test_for_programs_there_is_every_pick(ingressd: Any) -> None:
    (shown,) = json.loads(ingressd("simulate", "--scheduler", "lc", "--requests", "100", "-o", "json").out)
    assert shown["scheduler"] == "lc"
    assert Counter(shown["picks"]) == {each["endpoint"]: each["picks"] for each in shown["endpoints"]}
    assert len(shown["picks"]) == 100
    assert len(json.loads(ingressd("simulate", "--output", "json").out)) == 12


def test_many_endpoints_are_a_table_that_can_be_read(ingressd: Any) -> None:
    title, *_ = ingressd("simulate", "--endpoints", "250", "--requests", "10").out.splitlines()
    assert title.count("WEIGHT") == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "fastest"], "--scheduler: 'fastest' is not known; choose rr, wrr,"),
        (["--proxy-mode", "userspace"], "--proxy-mode: 'userspace' is not known; choose nftables, iptables or ipvs"),
        (["--endpoints", "2", "--weights", "1,1,1"], "--weights: 3 numbers for 2 endpoints"),
        (["--weights", "1,heavy"], "--weights: 'heavy' is not a whole number from 0 to 65535"),
        (["--weights", "0,0,0"], "--weights: an endpoint of weight 0 takes nothing"),
        (["--answer-ms", "0"], "--answer-ms: '0' is not a number from 0.001 to"),
        (["--answer-ms", "nan"], "--answer-ms: 'nan' is not a number"),
        (["--leaves", "4"], "--leaves: there is no endpoint 4: there are 3"),
        (["--endpoints", "0"], "Invalid value for '--endpoints'"),
        (["--requests", "many"], "Invalid value for '--requests'"),
    ],
)
def test_a_mistake_is_one_line(ingressd: Any, arguments: list[str], message: str) -> None:
    done = ingressd("simulate", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"ingressd: {message}")
    assert done.err.count("\n") == 1
