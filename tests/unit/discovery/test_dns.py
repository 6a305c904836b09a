"""The provider dns against a real name server on loopback; only its waiting is the test's."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path

import dns.name
import pytest
import uvloop
from dns.rcode import Rcode

from ingressd.discovery import dns as module
from ingressd.discovery import name_files
from ingressd.discovery.base import Answer, Query
from ingressd.discovery.dns import DnsDiscovery
from ingressd.discovery.dns_lookup import DnsLookup, Target
from ingressd.discovery.name_files import NameFiles
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint
from tests.support.dns_server import DnsServer, dns_server


class Place:
    """A machine: its two files, its name servers, and what the provider waited for."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text("search test\n")
        self._stack = stack
        self.waits: list[float] = []

    def files(self, *servers: DnsServer) -> NameFiles:
        addresses = tuple(server.address for server in servers)
        return NameFiles(addresses, hosts=str(self.hosts), resolv_conf=str(self.resolv_conf), check_s=0)

    def discovery(self, *servers: DnsServer) -> DnsDiscovery:
        return DnsDiscovery(Settings(), files=self.files(*servers), sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def watch(self, target: str, *servers: DnsServer, port: int = 80) -> AsyncIterator[Answer]:
        """The next answer is asked for only when the test takes it."""
        answers = self.discovery(*servers).watch(Query("dns", target, port))
        self._stack.push_async_callback(answers.aclose)  # type: ignore[attr-defined]
        return answers


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(tmp_path, stack)


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


def endpoint(address: str, port: int = 80, weight: int = 1) -> Endpoint:
    return Endpoint(address, port, weight=weight, source="dns")


def good(*addresses: str, port: int = 80) -> Answer:
    return Answer(tuple(endpoint(address, port) for address in addresses))


# What a name has.


async def test_all_addresses_of_both_families_come_sorted_and_once(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.3", "127.0.0.2")
    server.add("web.test.", "AAAA", "::1")
    assert await anext(place.watch("web.test", server)) == good("127.0.0.2", "127.0.0.3", "::1")


async def test_an_alias_is_followed_and_its_ttl_counts(place: Place, server: DnsServer) -> None:
    server.alias("web.test.", "real.test.", ttl=4)
    server.add("real.test.", "A", "127.0.0.2", ttl=30)
    answers = place.watch("web.test", server)
    assert await anext(answers) == good("127.0.0.2")
    await anext(answers)
    assert place.waits == [4]


async def test_a_port_in_the_target_wins(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.2")
    assert await anext(place.watch("web.test:8080", server)) == good("127.0.0.2", port=8080)


@pytest.mark.parametrize(
    ("target", "address", "port"),
    [
        ("10.0.0.1", "10.0.0.1", 80),
        ("10.0.0.1:81", "10.0.0.1", 81),
        ("fd00::1", "fd00::1", 80),
        ("[::1]:81", "::1", 81),
    ],
)
async def test_an_ip_address_answers_itself_for_ever(
    place: Place, server: DnsServer, target: str, address: str, port: int
) -> None:
    assert [answer async for answer in place.watch(target, server)] == [good(address, port=port)]
    assert server.asked == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "'' is not a DNS name"),
        (".", "'.' is not a DNS name"),
        ("a..b", "'a..b' is not a DNS name: A DNS label is empty."),
        ("http://web", "'http://web'"),
        ("web one", "'web one' is not a DNS name"),
        (f"{'a' * 64}.test", "is not a DNS name: A DNS label is > 63 octets long."),
        ("web:0", "'web:0': a port is a number from 1 to 65535"),
        ("_http._tcp.web:80", "'_http._tcp.web:80': SRV records say the ports; remove :80"),
    ],
)
async def test_a_target_that_is_no_name_is_a_problem(place: Place, server: DnsServer, target: str, said: str) -> None:
    (answer,) = [answer async for answer in place.watch(target, server)]
    assert answer.endpoints == ()
    assert said in answer.problem
    assert server.asked == []


async def test_ipv6_addresses_without_a_way_are_left_out_while_there_are_others(
    place: Place, server: DnsServer
) -> None:
    no_way = "fe80::1"  # link-local without an interface: no machine has a way there
    server.add("web.test.", "AAAA", no_way)
    answers = place.watch("web.test", server)
    assert await anext(answers) == good(no_way)
    server.add("web.test.", "A", "127.0.0.2")
    assert await anext(answers) == good("127.0.0.2")


# How long it is true.


async def test_a_name_is_asked_again_when_its_ttl_has_ended(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.2", ttl=2)
    server.add("web.test.", "AAAA", "::1", ttl=3)
    answers = place.watch("web.test", server)
    assert await anext(answers) == good("127.0.0.2", "::1")
    server.add("web.test.", "A", "127.0.0.3", ttl=4)
    assert await anext(answers) == good("127.0.0.3", "::1")
    server.remove("web.test.")
    server.add("web.test.", "A", "127.0.0.3", ttl=4)
    assert await anext(answers) == good("127.0.0.3")
    await anext(answers)
    assert place.waits == [2, 3, 4]


@pytest.mark.parametrize(("ttl", "wait"), [(0, 1), (1, 1), (5, 5), (86_400, 5)])
async def test_a_ttl_counts_from_one_second_to_five_seconds(
    place: Place, server: DnsServer, ttl: int, wait: float
) -> None:
    server.add("web.test.", "A", "127.0.0.2", ttl=ttl)
    answers = place.watch("web.test", server)
    await anext(answers)
    await anext(answers)
    assert place.waits == [wait]


async def test_a_short_ttl_really_passes(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.2", ttl=0)
    answers = DnsDiscovery(Settings(), files=place.files(server)).watch(Query("dns", "web.test", 80))
    assert await anext(answers) == good("127.0.0.2")
    server.add("web.test.", "A", "127.0.0.3", ttl=0)
    assert await anext(answers) == good("127.0.0.3")
    await answers.aclose()  # type: ignore[attr-defined]


# A name that is gone.


async def test_a_name_that_is_gone_has_no_endpoints_and_is_asked_for_soon(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.2")
    answers = place.watch("web.test", server)
    await anext(answers)
    server.remove("web.test.")
    assert await anext(answers) == Answer(problem="web.test does not resolve (NXDOMAIN)")
    assert await anext(answers) == Answer(problem="web.test does not resolve (NXDOMAIN)")
    server.add("web.test.", "A", "127.0.0.3")
    assert await anext(answers) == good("127.0.0.3")
    assert place.waits == [5, 1, 1]


async def test_a_name_that_stays_away_is_asked_for_less_often(place: Place, server: DnsServer) -> None:
    answers = place.watch("web.test.", server)
    for _ in range(63):
        await anext(answers)
    assert place.waits == [1] * 60 + [5] * 2


async def test_a_name_without_addresses_has_no_endpoints(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "TXT", "text")
    answer = await anext(place.watch("web.test", server))
    assert answer == Answer(problem="web.test does not resolve (it has no A or AAAA record)")


# DNS that fails.


async def test_the_last_good_answer_stays_while_dns_fails(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.2")
    answers = place.watch("web.test", server)
    await anext(answers)
    server.everything = Rcode.SERVFAIL
    failed = await anext(answers)
    assert failed.endpoints == good("127.0.0.2").endpoints
    assert re.fullmatch(
        r"web\.test: DNS has failed since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 "
        rf"\(SERVFAIL from 127\.0\.0\.1 port {server.port}\); the last good addresses stay in use",
        failed.problem,
    )
    server.everything = Rcode.REFUSED
    assert [await anext(answers) for _ in range(7)] == [failed] * 7  # the same words: nothing to announce
    server.everything = None
    server.add("web.test.", "A", "127.0.0.3", ttl=3)
    assert await anext(answers) == good("127.0.0.3")
    server.everything = Rcode.SERVFAIL
    assert (await anext(answers)).endpoints == good("127.0.0.3").endpoints
    await anext(answers)
    assert place.waits == [5, 1, 2, 4, 8, 16, 30, 30, 30, 3, 1]


async def test_without_a_good_answer_dns_that_fails_is_asked_more_often(place: Place, server: DnsServer) -> None:
    server.everything = Rcode.SERVFAIL
    answers = place.watch("web.test", server)
    failed = await anext(answers)
    assert failed.endpoints == ()
    assert failed.problem.endswith(f"(SERVFAIL from 127.0.0.1 port {server.port}); no address is known")
    for _ in range(4):
        assert await anext(answers) == failed
    server.everything = None
    server.add("web.test.", "A", "127.0.0.2")
    assert await anext(answers) == good("127.0.0.2")
    assert place.waits == [1, 2, 4, 5, 5]


async def test_a_name_server_that_says_nothing_keeps_the_last_good_answer(
    place: Place, server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_files, "TRY_S", 0.05)
    monkeypatch.setattr(name_files, "LIFETIME_S", 0.1)
    server.add("web.test.", "A", "127.0.0.2")
    lookup = DnsLookup(Target(dns.name.from_text("web.test"), 80), place.files(server), asyncio.Semaphore(2))
    while (await lookup.ask()).failure:
        pass  # a loaded machine may need longer than this short lifetime for the first answer
    server.silent = True
    found = await lookup.ask()
    assert found.endpoints == good("127.0.0.2").endpoints
    assert found.failure == f"no answer from 127.0.0.1 port {server.port}"


async def test_one_kind_of_record_that_fails_keeps_its_own_last_good_answer(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.2")
    server.add("web.test.", "AAAA", "::1")
    answers = place.watch("web.test", server)
    await anext(answers)
    server.fail("web.test.", "AAAA")
    server.add("web.test.", "A", "127.0.0.3")
    answer = await anext(answers)
    assert answer.endpoints == good("127.0.0.3", "::1").endpoints
    assert "DNS has failed since" in answer.problem


async def test_a_name_server_that_never_answers_for_aaaa_is_no_problem(place: Place, server: DnsServer) -> None:
    server.add("web.test.", "A", "127.0.0.2", ttl=4)
    server.fail("web.test.", "AAAA")
    answers = place.watch("web.test", server)
    assert await anext(answers) == good("127.0.0.2")
    assert await anext(answers) == good("127.0.0.2")
    assert place.waits == [4]


async def test_a_machine_without_any_name_server_says_so(place: Place) -> None:
    answer = await anext(place.watch("web.test"))
    assert answer.problem.endswith("(no name server is known: /etc/resolv.conf names none); no address is known")


async def test_a_name_server_that_refuses_sends_to_the_next_one(place: Place, server: DnsServer) -> None:
    async with dns_server() as refusing:
        refusing.everything = Rcode.REFUSED
        server.add("web.test.", "A", "127.0.0.2")
        assert await anext(place.watch("web.test", refusing, server)) == good("127.0.0.2")
        assert ("web.test.", "A", "udp") in refusing.asked


async def test_an_answer_too_long_for_udp_is_fetched_over_tcp(place: Place, server: DnsServer) -> None:
    addresses = sorted(f"127.0.{number}.1" for number in range(200))
    server.add("web.test.", "A", *addresses)
    server.truncating = True
    assert await anext(place.watch("web.test", server)) == good(*addresses)
    assert ("web.test.", "A", "udp") in server.asked
    assert ("web.test.", "A", "tcp") in server.asked


# Which name is meant.


async def test_a_short_name_is_looked_for_in_the_search_domains(place: Place, server: DnsServer) -> None:
    place.resolv_conf.write_text("search default.svc.test svc.test\n")
    server.add("web.svc.test.", "A", "127.0.0.2")
    assert await anext(place.watch("web", server)) == good("127.0.0.2")
    asked = list(dict.fromkeys(name for name, _, _ in server.asked))
    assert asked == ["web.default.svc.test.", "web.svc.test."]


async def test_a_candidate_without_addresses_does_not_end_the_search(place: Place, server: DnsServer) -> None:
    place.resolv_conf.write_text("search a.test b.test\n")
    server.add("web.a.test.", "TXT", "text")
    server.add("web.b.test.", "A", "127.0.0.2")
    assert await anext(place.watch("web", server)) == good("127.0.0.2")


async def test_a_name_that_was_found_is_not_another_one_while_dns_fails_for_it(place: Place, server: DnsServer) -> None:
    place.resolv_conf.write_text("search a.test b.test\n")
    server.add("web.a.test.", "A", "127.0.0.2")
    server.add("web.b.test.", "A", "127.0.0.66")
    answers = place.watch("web", server)
    assert await anext(answers) == good("127.0.0.2")
    server.fail("web.a.test.", "A")
    server.fail("web.a.test.", "AAAA")
    assert (await anext(answers)).endpoints == good("127.0.0.2").endpoints


async def test_a_candidate_for_which_dns_fails_does_not_end_the_search(place: Place, server: DnsServer) -> None:
    place.resolv_conf.write_text("search a.test b.test\n")
    server.fail("web.a.test.", "A")
    server.fail("web.a.test.", "AAAA")
    server.add("web.b.test.", "A", "127.0.0.2")
    assert await anext(place.watch("web", server)) == good("127.0.0.2")


async def test_a_name_in_the_hosts_file_is_answered_from_there(place: Place, server: DnsServer) -> None:
    place.hosts.write_text("127.0.0.9 web\n")
    server.add("web.test.", "A", "127.0.0.2", ttl=4)
    answers = place.watch("web", server)
    assert await anext(answers) == good("127.0.0.9")
    assert server.asked == []
    place.hosts.write_text("")
    assert await anext(answers) == good("127.0.0.2")
    await anext(answers)
    assert place.waits == [5, 4]


async def test_localhost_is_never_asked_of_a_name_server(place: Place, server: DnsServer) -> None:
    place.hosts.write_text("")
    assert await anext(place.watch("app.localhost", server)) == good("127.0.0.1", "::1")
    assert server.asked == []


# SRV.


async def test_srv_records_say_ports_and_weights(place: Place, server: DnsServer) -> None:
    server.add("_http._tcp.web.test.", "SRV", "1 5 8081 a.test.", "1 0 8082 b.test.", "2 9 8083 c.test.", ttl=50)
    server.add("a.test.", "A", "127.0.0.2", "127.0.0.3", ttl=3)
    server.add("b.test.", "A", "127.0.0.2")
    server.add("c.test.", "A", "127.0.0.4")
    answers = place.watch("_http._tcp.web.test", server)
    expected = Answer((endpoint("127.0.0.2", 8081, 5), endpoint("127.0.0.2", 8082, 1), endpoint("127.0.0.3", 8081, 5)))
    assert await anext(answers) == expected
    await anext(answers)
    assert place.waits == [3]
    assert not any(name == "c.test." for name, _, _ in server.asked)


async def test_a_name_without_srv_records_does_not_resolve(place: Place, server: DnsServer) -> None:
    server.add("_http._tcp.web.test.", "TXT", "text")
    answer = await anext(place.watch("_http._tcp.web.test", server))
    assert answer == Answer(problem="_http._tcp.web.test does not resolve (it has no SRV record)")


async def test_an_srv_record_can_say_that_there_is_no_such_service(place: Place, server: DnsServer) -> None:
    server.add("_http._tcp.web.test.", "SRV", "0 0 0 .")
    answers = place.watch("_http._tcp.web.test", server)
    assert await anext(answers) == Answer(
        problem="_http._tcp.web.test does not resolve (its SRV record says that it is not offered)"
    )
    await anext(answers)
    assert place.waits == [1]


async def test_an_srv_target_for_which_dns_fails_keeps_its_addresses(place: Place, server: DnsServer) -> None:
    server.add("_http._tcp.web.test.", "SRV", "0 1 81 a.test.", "0 1 82 b.test.")
    server.add("a.test.", "A", "127.0.0.2")
    server.add("b.test.", "A", "127.0.0.3")
    answers = place.watch("_http._tcp.web.test", server)
    first = await anext(answers)
    assert first.endpoints == (endpoint("127.0.0.2", 81), endpoint("127.0.0.3", 82))
    server.fail("b.test.", "A")
    second = await anext(answers)
    assert second.endpoints == first.endpoints
    assert "SERVFAIL" in second.problem


# Many names.


async def test_questions_under_way_are_bounded(
    place: Place, server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUESTIONS", 4)
    for number in range(200):
        server.add(f"web-{number}.test.", "A", "127.0.0.2")
    discovery = place.discovery(server)
    under_way = most = 0
    resolve = name_files.Resolver.resolve

    async def counted(*args: object, **kwargs: object) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await resolve(*args, **kwargs)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    monkeypatch.setattr(name_files.Resolver, "resolve", counted)
    watches = [discovery.watch(Query("dns", f"web-{number}.test", 80)) for number in range(200)]
    answers = await asyncio.gather(*(anext(watch) for watch in watches))
    assert answers == [good("127.0.0.2")] * 200
    assert most == 4
    for watch in watches:
        await watch.aclose()  # type: ignore[attr-defined]


async def test_a_watch_can_be_cancelled_while_it_asks(place: Place, server: DnsServer) -> None:
    server.silent = True
    asking = asyncio.ensure_future(anext(place.watch("web.test", server)))
    async with asyncio.timeout(20):
        while not server.asked:
            await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_watch_that_is_cancelled_leaves_no_socket_open(
    tmp_path: Path, run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def cancel_at_every_turn_of_the_loop() -> None:
        async with AsyncExitStack() as stack, dns_server() as server:
            place = Place(tmp_path, stack)
            discovery = place.discovery(server)
            await anext(discovery.watch(Query("dns", "web.test", 80)))  # what is read only once is open now
            before = len(os.listdir("/proc/self/fd"))
            for turns in range(12):
                watches = [discovery.watch(Query("dns", "web.test", 80)) for _ in range(20)]
                asking = [asyncio.ensure_future(anext(watch)) for watch in watches]
                for _ in range(turns):
                    await asyncio.sleep(0)
                for task in asking:
                    task.cancel()
                await asyncio.wait(asking)
            await anext(discovery.watch(Query("dns", "web.test", 80)))  # turns of the loop in which sockets close
            assert len(os.listdir("/proc/self/fd")) <= before

    run(cancel_at_every_turn_of_the_loop())
