"""Schedulers in the whole program: three applications, whom the requests meet, and what an edit leaves as it was."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.program import PATIENCE_S, Program, running
from tests.support.site import Site

HOST = "fleet.localhost"
NAMES = ("one", "two", "three")

Fleet = list[App]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield [stack.enter_context(app(name)) for name in NAMES]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def routed(fleet: Fleet, *, affinity_s: int = 0, annotations: dict[str, str] | None = None) -> str:
    """All three behind one host."""
    text = manifests.routed("fleet", HOST, *(each.port for each in fleet))
    written = manifests.service("fleet", fleet[0].port, annotations=annotations)
    if affinity_s:
        config = f"{{clientIP: {{timeoutSeconds: {affinity_s}}}}}"
        written += f"  sessionAffinity: ClientIP\n  sessionAffinityConfig: {config}\n"
    return text.replace(manifests.service("fleet", fleet[0].port), written)


def met(program: Program, count: int, client: str = "127.0.0.1") -> list[str]:
    """Who answers requests of a client that opens a connection for each."""
    answers = []
    for _ in range(count):
        connection = http.client.HTTPConnection(
            "127.0.0.1", program.port("http"), timeout=PATIENCE_S, source_address=(client, 0)
        )
        connection.request("GET", "/", headers={"Host": HOST})
        answers.append(connection.getresponse().read().decode())
        connection.close()
    return answers


def met_on_one_connection(program: Program, count: int) -> list[str]:
    """Who answers the requests of one connection, which are all one worker's."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port("http"), timeout=PATIENCE_S)
    answers = []
    for _ in range(count):
        connection.request("GET", "/", headers={"Host": HOST})
        answers.append(connection.getresponse().read().decode())
    connection.close()
    return answers


def test_without_a_word_endpoints_answer_in_turn_also_after_an_edit(tmp_path: Path, site: Site, fleet: Fleet) -> None:
    path = site.write("fleet.yaml", routed(fleet))
    with running(tmp_path / "log", str(site.folder), "--workers=1") as program:
        before = met_on_one_connection(program, 31)
        # A Service that says something about itself is another pool for the program.
        path.write_text(routed(fleet, annotations={"ingressd.dev/weights": f"127.0.0.1:{fleet[0].port}=2"}))
        program.until_served(2)
        after = met_on_one_connection(program, 29)
        first = NAMES.index(before[0])
        order = [*NAMES[first:], *NAMES[:first]]
        assert before + after == order * 20


def test_each_worker_takes_turns_of_its_own(tmp_path: Path, site: Site, fleet: Fleet) -> None:
    site.write("fleet.yaml", routed(fleet))
    with running(tmp_path / "log", str(site.folder), "--workers=2") as program:
        for _ in range(10):
            assert {*met_on_one_connection(program, 3)} == {*NAMES}


def test_a_mode_of_kube_proxy_picks_at_random(tmp_path: Path, site: Site, fleet: Fleet) -> None:
    site.write("fleet.yaml", routed(fleet))
    with running(tmp_path / "log", str(site.folder), "--proxy-mode=iptables", "--workers=1") as program:
        answers = met_on_one_connection(program, 300)
        assert {*answers} == {*NAMES}
        # In turn nobody follows himself. That chance avoids it 299 times has a probability of 1e-52.
        assert any(one == next_one for one, next_one in pairwise(answers))


def test_the_annotation_wins_over_the_scheduler_and_the_scheduler_over_the_mode(
    tmp_path: Path, site: Site, fleet: Fleet
) -> None:
    weights = ", ".join(f"127.0.0.1:{each.port}={weight}" for each, weight in zip(fleet, (3, 2, 1), strict=True))
    path = site.write("fleet.yaml", routed(fleet, annotations={"ingressd.dev/weights": weights}))
    options = ("--proxy-mode=nftables", "--scheduler=wrr", "--workers=1")
    with running(tmp_path / "log", str(site.folder), *options) as program:
        assert Counter(met_on_one_connection(program, 60)) == {"one": 30, "two": 20, "three": 10}
        annotations = {"ingressd.dev/weights": weights, "ingressd.dev/scheduler": "rr"}
        path.write_text(routed(fleet, annotations=annotations))
        program.until_served(2)
        assert Counter(met_on_one_connection(program, 60)) == dict.fromkeys(NAMES, 20)
        (pool,) = program.api("services")[0]["pools"]
        assert (pool["scheduler"], [each["weight"] for each in pool["endpoints"]]) == ("rr", [3, 2, 1])
        assert program.api("faults") == []


def test_lc_leaves_a_slow_endpoint_alone(tmp_path: Path, site: Site, fleet: Fleet) -> None:
    site.write("fleet.yaml", routed(fleet))
    for each in fleet:
        each.entered.clear()
    with running(tmp_path / "log", str(site.folder), "--scheduler=lc", "--workers=1") as program:
        answered: list[str] = []
        waiting = threading.Thread(target=lambda: answered.append(program.get("/slow", HOST)[1]))
        waiting.start()
        slow = _who_was_entered(fleet)
        others = {*NAMES} - {slow.name}
        assert Counter(met(program, 20)) == dict.fromkeys(others, 10)
        # Also an edit does not make it forget what is in flight.
        site.write("fleet.yaml", routed(fleet) + "# a remark\n")
        program.until_served(2)
        assert {*met(program, 20)} == others
        slow.release()
        waiting.join(PATIENCE_S)
        assert answered == [slow.name]
        assert {*met(program, 3)} == {*NAMES}


def _who_was_entered(fleet: Fleet) -> App:
    for _ in range(int(PATIENCE_S * 100)):
        for each in fleet:
            if each.entered.wait(0.01):
                return each
    raise AssertionError("nobody got the request")


CLIENTS = [f"127.0.1.{number}" for number in range(1, 61)]
"""So many that each endpoint has some of them, whatever its port is."""
PER_CLIENT = 4
"""Connections of a client. One of eight clients meets one worker only; the others meet both."""


def test_a_client_meets_the_same_endpoint_in_every_worker(tmp_path: Path, site: Site, fleet: Fleet) -> None:
    path = site.write("fleet.yaml", routed(fleet, affinity_s=3600))
    with running(tmp_path / "log", str(site.folder), "--workers=2") as program:
        first = {client: met(program, PER_CLIENT, client) for client in CLIENTS}
        assert {client: {*answers} for client, answers in first.items()} == {
            client: {answers[0]} for client, answers in first.items()
        }
        homes = {client: answers[0] for client, answers in first.items()}
        assert {*homes.values()} == {*NAMES}
        # One endpoint leaves: its clients move, to the same new one in both workers, and nobody else does.
        gone = fleet[0]
        path.write_text(routed(fleet[1:], affinity_s=3600))
        program.until_served(2)
        for client, home in homes.items():
            (now,) = {*met(program, PER_CLIENT, client)}
            assert now != gone.name
            assert now == home or home == gone.name


def test_a_client_stays_when_an_endpoint_comes(tmp_path: Path, site: Site, fleet: Fleet) -> None:
    path = site.write("fleet.yaml", routed(fleet[:2], affinity_s=3600))
    with running(tmp_path / "log", str(site.folder), "--workers=1") as program:
        homes = {client: met(program, 1, client) for client in CLIENTS}
        path.write_text(routed(fleet, affinity_s=3600))
        program.until_served(2)
        assert {client: met(program, 1, client) for client in CLIENTS} == homes
