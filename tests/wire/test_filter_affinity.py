"""Sessions, hashes and schedulers through the edge: which endpoint of a Service a request reaches."""

from __future__ import annotations

import pytest

from tests.support.manifest_edge import compiled_manifests, ingress_yaml, serving_manifests
from tests.support.spread import backends, fetched, spread_yaml

NAMES = ("one", "two", "three")
COOKIE = {"affinity": "cookie"}


def cookie_of(fields: dict[str, str]) -> str:
    return fields["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
async def test_a_client_keeps_its_endpoint_and_gets_its_cookie_once(mode: str) -> None:
    async with backends(*NAMES) as each:
        services = spread_yaml({"app": [one.port for one in each.values()]})
        async with serving_manifests(services + ingress_yaml({**COOKIE, "affinity-mode": mode})) as edge:
            seen = set()
            for _ in range(12):
                who, fields = await fetched(edge)
                seen.add(who)
                assert fields["set-cookie"].startswith("INGRESSCOOKIE=")
                assert fields["set-cookie"].partition("; ")[2] == "Path=/; HttpOnly"
                for _ in range(3):
                    again, fields_again = await fetched(edge, Cookie=f"a=b; {cookie_of(fields)}")
                    assert (again, "set-cookie" in fields_again) == (who, False)
            assert len(seen) > 1


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
@pytest.mark.parametrize("change", ["true", "false"])
async def test_a_session_whose_endpoint_does_not_answer_moves_only_if_it_may(mode: str, change: str) -> None:
    annotations = {**COOKIE, "affinity-mode": mode, "session-cookie-change-on-failure": change}
    async with backends("two") as two:
        async with backends("one") as one:
            text = spread_yaml({"app": [one["one"].port, two["two"].port]}) + ingress_yaml(annotations)
            async with serving_manifests(text) as edge:
                begun: dict[str, str] = {}
                while len(begun) < 2:
                    who, fields = await fetched(edge)
                    begun[who] = cookie_of(fields)
        async with serving_manifests(text) as edge:
            for _ in range(2):
                who, fields = await fetched(edge, Cookie=begun["one"])
                assert who == "two"
                if change == "true":
                    who, again = await fetched(edge, Cookie=cookie_of(fields))
                    assert (who, "set-cookie" in again) == ("two", False)
                else:
                    assert "set-cookie" not in fields
        without = spread_yaml({"app": [two["two"].port]}) + ingress_yaml(annotations)
        async with serving_manifests(without) as edge:
            who, fields = await fetched(edge, Cookie=begun["one"])
            assert (who, "set-cookie" in fields) == ("two", True), "its endpoint is gone"
            who, fields = await fetched(edge, Cookie=begun["two"])
            assert (who, "set-cookie" in fields) == ("two", False)


async def test_two_ingresses_with_the_same_cookie_name_do_not_confuse_each_other() -> None:
    async with backends(*NAMES, "other") as each:
        other = each.pop("other")
        services = spread_yaml({"app": [one.port for one in each.values()], "other": [other.port]})
        both = ingress_yaml(COOKIE) + ingress_yaml(COOKIE, name="b", path="/b", service="other")
        async with serving_manifests(services + both) as edge:
            who, fields = await fetched(edge)
            of_other = cookie_of((await fetched(edge, "/b"))[1])
            for cookies in (f"{of_other}; {cookie_of(fields)}", f"{cookie_of(fields)}; {of_other}"):
                for path, expected in (("/", who), ("/b", "other")):
                    answered, received = await fetched(edge, path, Cookie=cookies)
                    assert (answered, "set-cookie" in received) == (expected, False)


async def test_forged_and_broken_cookies_are_replaced() -> None:
    async with backends(*NAMES) as each:
        services = spread_yaml({"app": [one.port for one in each.values()]})
        async with serving_manifests(services + ingress_yaml(COOKIE)) as edge:
            known = cookie_of((await fetched(edge))[1])
            tag = known.rpartition(".")[2]
            for value in ("", ".", "..", f"x.y.{tag}", f".{tag}", f"{'0' * 16}.{'f' * 16}.{tag}", "a" * 3000, "\xff"):
                who, fields = await fetched(edge, Cookie=f"INGRESSCOOKIE={value}")
                assert who in NAMES
                assert cookie_of(fields) != f"INGRESSCOOKIE={value}"


async def test_a_hash_sends_each_key_to_one_endpoint_and_its_retry_to_another() -> None:
    async with backends(*NAMES) as each:
        ports = [one.port for one in each.values()]
        text = spread_yaml({"app": ports}) + ingress_yaml({"upstream-hash-by": "$request_uri"})
        async with serving_manifests(text) as edge:
            first = {path: (await fetched(edge, path))[0] for path in map("/{}".format, range(60))}
            assert set(first.values()) == set(NAMES)
            assert {path: (await fetched(edge, path))[0] for path in first} == first
    async with backends("again") as only:
        ports = [ports[0], only["again"].port]
        text = spread_yaml({"app": ports}) + ingress_yaml({"upstream-hash-by": "$request_uri"})
        async with serving_manifests(text) as edge:
            assert {(await fetched(edge, path))[0] for path in first} == {"again"}


async def test_a_subset_is_some_endpoints_and_the_same_for_a_key() -> None:
    names = tuple("abcdef")
    annotations = {
        "upstream-hash-by": "$arg_user",
        "upstream-hash-by-subset": "true",
        "upstream-hash-by-subset-size": "2",
    }
    async with backends(*names) as each:
        text = spread_yaml({"app": [one.port for one in each.values()]}) + ingress_yaml(annotations)
        async with serving_manifests(text) as edge:
            seen = {(await fetched(edge, "/?user=u"))[0] for _ in range(40)}
            assert len(seen) == 2
            assert {(await fetched(edge, "/?user=u"))[0] for _ in range(20)} <= seen
            assert {(await fetched(edge))[0] for _ in range(6)} == set(names), "without a key the scheduler picks"


def test_load_balance_makes_a_pool_of_its_own_with_the_scheduler() -> None:
    for value, scheduler in (("round_robin", "rr"), ("ewma", "ewma"), ("maglev", "maglev")):
        text = spread_yaml({"app": [81]}) + ingress_yaml({"load-balance": value})
        (pool,) = compiled_manifests(text).snapshot.pools.values()
        assert pool.scheduler == scheduler


async def test_an_upstream_vhost_is_the_host_that_the_endpoint_sees() -> None:
    for value, host in (("inner.test:81", "inner.test:81"), ("$service_name.$namespace", "app.default")):
        async with backends("one") as each:
            text = spread_yaml({"app": [each["one"].port]}) + ingress_yaml({"upstream-vhost": value})
            async with serving_manifests(text) as edge:
                assert (await fetched(edge))[0] == "one"
                assert f"Host: {host}\r\n".encode() in each["one"].peers[0].received


async def test_service_upstream_makes_one_attempt_and_sets_no_cookie() -> None:
    async with backends("one", "two") as each:
        text = spread_yaml({"app": [one.port for one in each.values()]})
        text += ingress_yaml({"service-upstream": "true", **COOKIE})
        async with serving_manifests(text) as edge:
            assert "set-cookie" not in (await fetched(edge))[1]
    async with serving_manifests(text) as edge:
        assert (await fetched(edge))[0] == "502"
        assert (await edge.logged())[0].attempts == 1
