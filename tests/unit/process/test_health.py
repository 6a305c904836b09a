"""The checker against real endpoints: when they are asked, and what it says of them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise

import pytest
from aiohttp import web

from ingressd.observe.sparing import Sparing
from ingressd.process import health
from ingressd.process.health import CONCURRENT, JITTER, HealthChecker
from ingressd.process.probe import Probe, Result
from ingressd.table.health import HealthCheck, HealthTarget
from tests.support.loops import on_both_loops
from tests.unit.process.endpoints import serving, unused_port

QUICK = HealthCheck("http", "/healthz", interval_s=0.02, rise=2, fall=3)
"""No annotation can ask so often."""


class App:
    """An endpoint whose status is a test's to choose."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        self.port = 0

    async def answer(self, _request: web.BaseRequest) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status)


class Site:
    """A checker, and what it said."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.changed = asyncio.Event()
        self.changes = 0
        self.checker = HealthChecker(self._on_change, random.Random(1))

    def _on_change(self) -> None:
        self.changes += 1
        self.changed.set()

    async def app(self) -> App:
        app = App()
        app.port = await self._stack.enter_async_context(serving(app.answer))
        return app

    def shown(self, port: int) -> dict[str, object]:
        (row,) = (row for row in self.checker.statistics().values() if row["target"] == f"127.0.0.1:{port}")
        return row

    async def until_unhealthy(self, targets: Iterable[HealthTarget]) -> None:
        wanted = {*targets}
        async with asyncio.timeout(20):
            while self.checker.unhealthy != wanted:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        site = Site(stack)
        stack.push_async_callback(site.checker.close)
        yield site


def target(port: int, check: HealthCheck = QUICK) -> HealthTarget:
    return HealthTarget("127.0.0.1", port, check)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What checkers log; other tests have not used up the lines of this while."""
    monkeypatch.setattr(health, "_LOG", Sparing(logging.getLogger("ingressd.health")))
    caplog.set_level(logging.INFO, "ingressd.health")
    return caplog


async def test_an_endpoint_goes_down_after_fall_and_comes_back_after_rise(
    site: Site, said: pytest.LogCaptureFixture
) -> None:
    app = await site.app()
    site.checker.follow({target(app.port)})
    assert site.shown(app.port)["detail"] == "not checked yet"
    await site.checker.first_results(10)
    assert site.checker.unhealthy == frozenset()
    app.status = 503
    await site.until_unhealthy({target(app.port)})
    shown = site.shown(app.port)
    assert (shown["healthy"], shown["detail"], shown["check"]) == (False, "status 503", "http:/healthz")
    assert isinstance(shown["checked_at"], float)
    assert shown["checked_at"] > 1e9
    app.status = 200
    await site.until_unhealthy(())
    assert [record.getMessage() for record in said.records] == [
        f"127.0.0.1:{app.port} is unhealthy: status 503 (http:/healthz)",
        f"127.0.0.1:{app.port} is healthy again: status 200 (http:/healthz)",
    ]


async def test_the_first_failure_of_a_new_endpoint_is_enough(site: Site) -> None:
    never = replace(QUICK, interval_s=3600.0)
    gone = target(unused_port(), never)
    site.checker.follow({gone})
    assert site.checker.unhealthy == frozenset(), "until it was asked it is used"
    await site.checker.first_results(10)
    assert site.checker.unhealthy == {gone}


async def test_first_results_are_not_waited_for_longer_than_said(site: Site) -> None:
    slow = asyncio.Event()

    async def hang(_request: web.BaseRequest) -> web.Response:
        await slow.wait()
        return web.Response()

    async with serving(hang) as port:
        site.checker.follow({target(port)})
        await site.checker.first_results(0.05)
        assert site.shown(port)["checked_at"] == 0.0
        slow.set()
        await site.checker.first_results(10)
        assert site.shown(port)["detail"] == "status 200"


async def test_what_is_no_longer_asked_for_is_forgotten_at_once(site: Site) -> None:
    app = await site.app()
    gone = target(unused_port())
    site.checker.follow({target(app.port), gone})
    await site.until_unhealthy({gone})
    site.checker.follow({target(app.port)})
    assert site.checker.unhealthy == frozenset()
    site.checker.follow(frozenset())
    assert site.checker.statistics() == {}
    await site.checker.first_results(10)


async def test_what_is_known_survives_an_edit_of_others_and_of_the_check(site: Site) -> None:
    gone = target(unused_port(), replace(QUICK, interval_s=3600.0))
    site.checker.follow({gone})
    await site.until_unhealthy({gone})
    site.checker.follow({gone, target(unused_port())})
    assert gone in site.checker.unhealthy
    app = await site.app()
    edited = gone._replace(check=replace(gone.check, rise=5))
    site.checker.follow({edited, target(app.port)})
    assert site.checker.unhealthy == {edited}, "it is not trusted again because its check was edited"


async def test_a_check_that_was_wrong_is_right_with_its_first_good_result(site: Site) -> None:
    app = await site.app()
    wrong = target(app.port, replace(QUICK, statuses=((204, 204),)))
    site.checker.follow({wrong})
    await site.until_unhealthy({wrong})
    site.checker.follow({target(app.port, replace(QUICK, rise=1000))})
    await site.until_unhealthy(())


class Recorded(Probe):
    """A network on which everything is good; it notes when it is asked, and holds what it is told to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[HealthTarget, list[float]] = {}
        self.under_way = 0
        self.most = 0
        self.broken = False
        self.open = asyncio.Event()
        self.open.set()

    async def ask(self, target: HealthTarget) -> Result:
        self.times.setdefault(target, []).append(asyncio.get_running_loop().time())
        if self.broken:
            raise RuntimeError("a mistake of ours")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.open.wait()
        self.under_way -= 1
        return Result(True, "status 200", 0.001)


@pytest.fixture
async def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    network = Recorded()
    monkeypatch.setattr(health, "Probe", lambda: network)
    return network


async def test_ten_thousand_endpoints_are_asked_in_turn_by_few_tasks(site: Site, recorded: Recorded) -> None:
    check = replace(QUICK, interval_s=0.1)  # the first round is spread over an interval, however many there are
    everyone = {HealthTarget(f"10.0.{n >> 8}.{n & 255}", 80, check) for n in range(10_000)}
    recorded.open.clear()
    site.checker.follow(everyone)
    async with asyncio.timeout(20):
        while recorded.under_way < CONCURRENT:
            await asyncio.sleep(0.01)
        recorded.open.set()
        await site.checker.first_results(20)
    assert recorded.most == CONCURRENT
    assert len(recorded.times) == 10_000
    assert len(asyncio.all_tasks()) <= CONCURRENT + 2
    site.checker.follow(frozenset())


async def test_intervals_are_kept_but_for_the_jitter(site: Site, recorded: Recorded) -> None:
    everyone = {HealthTarget("10.0.0.1", port, QUICK) for port in range(1, 6)}
    site.checker.follow(everyone)
    async with asyncio.timeout(20):
        while min((len(times) for times in recorded.times.values()), default=0) < 6:
            await asyncio.sleep(0.01)
    assert recorded.times.keys() == everyone
    for times in recorded.times.values():
        gaps = [later - sooner for sooner, later in pairwise(times)]
        assert min(gaps) >= QUICK.interval_s * (1 - JITTER) - 0.002


async def test_a_check_that_breaks_by_our_own_fault_says_nothing_and_goes_on(
    site: Site, recorded: Recorded, said: pytest.LogCaptureFixture
) -> None:
    recorded.broken = True
    one = HealthTarget("10.0.0.1", 80, replace(QUICK, fall=1))
    site.checker.follow({one})
    async with asyncio.timeout(20):
        while len(recorded.times.get(one, ())) < 3:
            await asyncio.sleep(0.005)
    assert site.checker.unhealthy == frozenset()
    assert said.records[0].getMessage() == "the check of 10.0.0.1:80 failed"
    assert said.records[0].exc_info


async def test_one_target_is_never_asked_twice_at_a_time(site: Site, recorded: Recorded) -> None:
    recorded.open.clear()
    site.checker.follow({HealthTarget("10.0.0.1", 80, QUICK)})
    async with asyncio.timeout(20):
        while not recorded.under_way:
            await asyncio.sleep(0.005)
        await asyncio.sleep(5 * QUICK.interval_s)
        assert recorded.most == 1
        recorded.open.set()
        while sum(map(len, recorded.times.values())) < 3:
            await asyncio.sleep(0.005)
    assert recorded.most == 1


@on_both_loops
async def test_checks_that_take_longer_than_their_interval_go_on() -> None:
    calls = 0

    async def slow(_request: web.BaseRequest) -> web.Response:
        nonlocal calls
        calls += 1
        await asyncio.sleep(2 * QUICK.interval_s)
        return web.Response()

    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, error: errors.append(error))
    checker = HealthChecker(lambda: None)
    async with serving(slow) as port, asyncio.timeout(20):
        checker.follow({target(port), target(unused_port())})
        while calls < 4:
            await asyncio.sleep(0.005)
        await checker.close()
    assert errors == []


async def test_changes_that_come_together_are_told_together(site: Site) -> None:
    check = replace(QUICK, interval_s=3600.0)
    gone = {target(unused_port(), check) for _ in range(10)}
    site.checker.follow(gone)
    await site.until_unhealthy(gone)
    assert Counter(each["healthy"] for each in site.checker.statistics().values()) == {False: len(gone)}
    assert site.changes < len(gone)
