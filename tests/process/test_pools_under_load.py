"""Pools under load: real processes behind one worker, who gets how much, what is noticed of kills and replacements."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import site as manifests
from tests.support.clients import Clients
from tests.support.metrics import sample
from tests.support.named_process import NamedProcess, named_processes
from tests.support.program import PATIENCE_S, Program, running, until
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("pools-under-load")

NAMES = ("one", "two", "three", "four")
SLOW_S = 0.06
"""For an answer; the others take no time to speak of."""
CLIENTS = [f"127.0.2.{number}" for number in range(1, 61)]
"""So many that each of four endpoints has some of them: that one has none has a probability of 1e-7."""
FLEET = 20
AT_ONCE = 4
REFUSALS = 5 + 6
"""Failures in a row that eject an endpoint, and requests that are under way then."""


class World:
    """What the tests share: one program with one worker, so that turns are exact; processes that only answer."""

    def __init__(self, program: Program, site: Site, folder: Path, fleet: list[NamedProcess]) -> None:
        self.program = program
        self.site = site
        self.folder = folder
        self.fleet = fleet

    def serve(self, name: str, endpoints: list[NamedProcess], *, host: str = "", **annotations: str) -> str:
        """Have a host for a Service with these annotations; when it is served, all the workers know. Returns it."""
        host = host or f"{name}.localhost"
        ports = [each.port for each in endpoints]
        plain = manifests.service(name, ports[0])
        said = {f"ingressd.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
        text = manifests.routed(name, host, *ports).replace(
            plain, manifests.service(name, ports[0], annotations=said), 1
        )
        generation = self.program.generation
        self.site.write(f"{name}.yaml", text)
        self.program.until_served(generation + 1)
        return host

    def drop(self, name: str) -> None:
        """Have that host no more. The next edit must not be taken for this one."""
        generation = self.program.generation
        self.site.file(f"{name}.yaml").unlink()
        self.program.until_served(generation + 1)

    def met(self, host: str, count: int, client: str = "127.0.0.1") -> list[str]:
        """Who answers the requests of one connection."""
        port = self.program.port("http")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S, source_address=(client, 0))
        answers = []
        for _ in range(count):
            connection.request("GET", "/", headers={"Host": host})
            response = connection.getresponse()
            answers.append(response.read().decode())
            assert response.status == 200
        connection.close()
        return answers

    def endpoint(self, service: str, process: NamedProcess) -> dict[str, Any]:
        """As /api/v1/services shows it."""
        rows: list[dict[str, Any]] = self.program.api("services")
        (row,) = (row for row in rows if row["name"] == service)
        key = f"127.0.0.1:{process.port}"
        (endpoint,) = (each for each in row["pools"][0]["endpoints"] if each["endpoint"] == key)
        return dict(endpoint)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("pools")
    site = Site(folder / "site")
    with (
        named_processes(folder, *NAMES) as fleet,
        running(folder / "log", str(site.folder), "--workers=1", "--access-log=off") as program,
    ):
        yield World(program, site, folder, fleet)


# Who gets how much.


def test_rr_gives_each_the_same_to_a_request(world: World) -> None:
    host = world.serve("rr", world.fleet, scheduler="rr")
    for count in (40, 41, 42, 43):
        counts = Counter(world.met(host, count))
        assert {*counts} == {*NAMES}
        assert max(counts.values()) - min(counts.values()) <= 1


def test_wrr_gives_each_its_weight_in_each_cycle(world: World) -> None:
    weights = dict(zip(NAMES, (5, 3, 1, 1), strict=True))
    text = ", ".join(f"127.0.0.1:{each.port}={weights[each.name]}" for each in world.fleet)
    host = world.serve("wrr", world.fleet, scheduler="wrr", weights=text)
    for cycles in (1, 4):
        assert Counter(world.met(host, 10 * cycles)) == {name: cycles * weight for name, weight in weights.items()}


def test_random_is_uniform_and_no_turn(world: World) -> None:
    host = world.serve("random", world.fleet, scheduler="random")
    answers = world.met(host, 400)
    expected = len(answers) / len(NAMES)
    counts = Counter(answers)
    # With three degrees of freedom, more than 50 has a probability of 8e-11.
    assert sum((counts[name] - expected) ** 2 / expected for name in NAMES) < 50
    assert any(one == following for one, following in pairwise(answers)), "in turn nobody follows himself"


@pytest.mark.parametrize("scheduler", ["sh", "maglev"])
def test_a_client_has_one_endpoint_and_the_clients_have_all(world: World, scheduler: str) -> None:
    host = world.serve(scheduler, world.fleet, scheduler=scheduler)
    homes = {client: {*world.met(host, 2, client), *world.met(host, 1, client)} for client in CLIENTS}
    assert {len(names) for names in homes.values()} == {1}
    assert set().union(*homes.values()) == {*NAMES}


def test_with_dh_a_host_has_one_endpoint_whoever_asks(world: World) -> None:
    world.serve("dh", world.fleet, host="*.dh.localhost", scheduler="dh")
    hosts = [f"h{number}.dh.localhost" for number in range(len(CLIENTS))]
    homes = {host: {*world.met(host, 2), *world.met(host, 1, "127.0.2.9")} for host in hosts}
    assert {len(names) for names in homes.values()} == {1}
    assert set().union(*homes.values()) == {*NAMES}


@pytest.mark.parametrize("scheduler", ["lc", "wlc", "sed", "nq", "p2c", "ewma"])
def test_a_slow_endpoint_gets_less(world: World, scheduler: str) -> None:
    with named_processes(world.folder, f"slow-{scheduler}", delay_s=SLOW_S) as slow:
        host = world.serve(scheduler, [*world.fleet[:3], *slow], scheduler=scheduler)
        with Clients(world.program, host, 4) as clients:
            until(lambda: clients.bodies.total() >= 400, "400 answers")
        assert not clients.failures
        assert 0 < clients.bodies[slow[0].name] * 2 < min(clients.bodies[name] for name in NAMES[:3])
    world.drop(scheduler)


# What is noticed.


def test_the_requests_that_an_endpoint_takes_with_it_are_all_that_can_fail(world: World) -> None:
    with named_processes(world.folder, "k-one", "k-two", "k-three") as fleet:
        host = world.serve("killed", fleet)
        retries = sample(world.program, "ingressd_retries_total")
        victim, *others = fleet

        def in_flight() -> int:
            return int(world.endpoint("killed", victim)["live"]["active"])

        with Clients(world.program, host, 3) as gets, Clients(world.program, host, 3, method="POST") as posts:
            until(lambda: all(each.served > 10 for each in fleet), "load on everybody")
            # Whoever has its turn waits for it, until all clients do.
            victim.stop()
            until(lambda: in_flight() == 6, "a request of each client in flight")
            victim.kill()
            before = [each.served for each in others]
            until(
                lambda: all(each.served > count + 100 for each, count in zip(others, before, strict=True)),
                "more load on the others",
            )
        # A GET that had no answer is asked again elsewhere. A POST is not: it may have been acted on. Nor is the next
        # one of a client, if the kernel still took its connection for the dying process.
        assert not gets.failures
        assert posts.failures.keys() == {"502"}
        assert 3 <= posts.failures["502"] <= 3 + 3
        # The three GETs, and requests that were refused until the endpoint was ejected.
        assert 3 <= sample(world.program, "ingressd_retries_total") - retries <= 3 + REFUSALS


def test_twenty_endpoints_are_replaced_and_nobody_notices(world: World) -> None:
    old_names, new_names = ([f"{age}-{number}" for number in range(FLEET)] for age in ("old", "new"))
    with named_processes(world.folder, *old_names) as old, named_processes(world.folder, *new_names) as new:
        host = world.serve("rolling", old)
        with Clients(world.program, host, 2) as gets, Clients(world.program, host, 2, method="POST") as posts:
            until(lambda: all(each.served for each in old), "load on every old endpoint")
            for done in range(AT_ONCE, FLEET + 1, AT_ONCE):
                world.serve("rolling", [*new[:done], *old[done:]])
                for each in old[done - AT_ONCE : done]:
                    until(lambda each=each: not each.connections, "the end of the last connection")  # type: ignore[misc]
                    each.kill()
            until(lambda: all(each.served for each in new), "load on every new endpoint")
        for clients in (gets, posts):
            assert not clients.failures
            assert {*clients.bodies} <= {*old_names, *new_names}
        assert {*world.met(host, FLEET)} == {*new_names}


def test_an_endpoint_that_comes_and_goes_is_ejected_and_returns(world: World) -> None:
    with named_processes(world.folder, "f-one", "f-two", "f-three") as fleet:
        host = world.serve("flapping", fleet, outlier_detection="consecutive-failures=2, base-ejection=300ms")
        flapping, *_ = fleet
        with Clients(world.program, host, 2) as clients:
            for ejections in (1, 2):
                until(lambda: flapping.served > 10, "load on it")
                flapping.kill()
                until(lambda: world.endpoint("flapping", flapping)["state"] == "ejected", "an ejection")
                assert world.endpoint("flapping", flapping)["live"]["ejections"] >= ejections
                flapping.restart()
                until(lambda: world.endpoint("flapping", flapping)["state"] == "ready", "its return")
            until(lambda: flapping.served > 10, "load on it again")
        assert not clients.failures
        assert f"127.0.0.1:{flapping.port} takes requests again" in world.program.said
