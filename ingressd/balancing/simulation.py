"""A simulation: made-up requests, endpoints of known speed, and the scheduler of the proxy in between.

In: a Scenario. Out: an Outcome, which is the same whenever the Scenario is. Time is a number here: nothing waits.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingressd.balancing.affinity import ClientAffinity
from ingressd.balancing.base import Scheduler
from ingressd.balancing.peak_ewma import observed
from ingressd.balancing.registry import SCHEDULERS

HOSTS = 100
"""That clients ask for: dh tells them apart."""
_SECONDS_BEFORE = 1.0
"""A latency at 0 is one that was never measured."""


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint of a scenario."""

    weight: int = 1
    answer_s: float = 0.01
    """Mean time for an answer; it gives one after the other."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated."""

    scheduler: str
    places: tuple[Place, ...]
    requests: int = 1000
    clients: int = 100
    load: float = 0.7
    """Requests that arrive, of those that all endpoints together could answer."""
    leaves: int = 0
    """Number of the endpoint that is taken away half-way; 0 = none."""
    affinity_s: float = 0.0
    """sessionAffinity: ClientIP; 0 = None."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """What one endpoint got."""

    picks: int
    peak: int
    """Most requests in flight."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests."""

    picks: tuple[int, ...]
    """Numbers of the endpoints, from 1, in the order of the requests; 0 = there was none."""
    shares: tuple[Share, ...]
    mean_s: float
    p99_s: float
    """99 of 100 answers took less."""
    moved: int
    """Clients whose next endpoint was another one, their own not having left."""
    displaced: int
    """Clients whose endpoint left."""


class _Target:
    """An endpoint while it is simulated."""

    def __init__(self, number: int, place: Place) -> None:
        self.number = number
        self.key = f"10.0.0.{number}:80"
        self.place = place
        self.active = 0
        self.latency_s = 0.0
        self.latency_at = 0.0
        self.free_at = 0.0
        self.picks = 0
        self.peak = 0

    def take(self, now: float, seconds: float) -> float:
        """One more request; returns when its answer is there."""
        self.picks += 1
        self.active += 1
        self.peak = max(self.peak, self.active)
        self.free_at = max(now, self.free_at) + seconds
        return self.free_at

    def answer(self, now: float, seconds: float) -> None:
        """It is there."""
        self.active -= 1
        self.latency_s = observed(self.latency_s, now - self.latency_at, seconds)
        self.latency_at = now


@dataclass(frozen=True, slots=True)
class _Request:
    client_address: str
    host: str
    began: float
    size: float
    """Of its answer; 1 on average."""


class _Clients:
    """Where each client was last, and who has moved."""

    def __init__(self) -> None:
        self._last: dict[str, _Target] = {}
        self.moved: set[str] = set()
        self.displaced: set[str] = set()

    def leave(self, target: _Target) -> None:
        self.displaced = {client for client, last in self._last.items() if last is target}
        self._last = {client: last for client, last in self._last.items() if last is not target}

    def went(self, client: str, target: _Target) -> None:
        if self._last.setdefault(client, target) is not target:
            self.moved.add(client)
        self._last[client] = target


def simulate(scenario: Scenario) -> Outcome:
    """Let all requests happen."""
    scheduler: Scheduler[_Target] = SCHEDULERS[scenario.scheduler](random.Random(scenario.seed))
    if scenario.affinity_s:
        scheduler = ClientAffinity(scenario.affinity_s)
    targets = [_Target(number, place) for number, place in enumerate(scenario.places, 1)]
    serving = {target: target.place.weight for target in targets}
    scheduler.update(serving)
    clients = _Clients()
    under_way: list[tuple[float, int, float, _Target]] = []
    picks: list[int] = []
    times: list[float] = []
    for number, request in enumerate(_requests(scenario)):
        if scenario.leaves and number == scenario.requests // 2:
            gone = targets[scenario.leaves - 1]
            serving = {target: weight for target, weight in serving.items() if target is not gone}
            scheduler.update(serving)
            clients.leave(gone)
        while under_way and under_way[0][0] <= request.began:
            ended, _, began, target = heapq.heappop(under_way)
            target.answer(ended, ended - began)
        chosen = scheduler.pick((), request)
        picks.append(chosen.number if chosen else 0)
        if chosen is None:
            continue
        clients.went(request.client_address, chosen)
        ended = chosen.take(request.began, request.size * chosen.place.answer_s)
        times.append(ended - request.began)
        heapq.heappush(under_way, (ended, number, request.began, chosen))
    times.sort()
    return Outcome(
        picks=tuple(picks),
        shares=tuple(Share(target.picks, target.peak) for target in targets),
        mean_s=math.fsum(times) / len(times) if times else 0.0,
        p99_s=times[math.ceil(len(times) * 0.99) - 1] if times else 0.0,
        moved=len(clients.moved),
        displaced=len(clients.displaced),
    )


def _requests(scenario: Scenario) -> Iterator[_Request]:
    """They arrive independently of each other, so that they sometimes crowd; the same ones for every scheduler."""
    dice = random.Random(~scenario.seed)
    rate = scenario.load * capacity(scenario.places)
    now = _SECONDS_BEFORE
    for _ in range(scenario.requests):
        now += dice.expovariate(rate)
        client = dice.randrange(scenario.clients)
        host = f"{dice.randrange(HOSTS)}.example"
        yield _Request(f"192.0.{2 + client // 256}.{client % 256}", host, now, dice.expovariate(1))


def capacity(places: Sequence[Place]) -> float:
    """Requests a second that the endpoints can answer."""
    return sum(1 / place.answer_s for place in places if place.weight)
