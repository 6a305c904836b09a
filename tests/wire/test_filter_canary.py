"""Canaries and conditions through the edge: which Service of a host and path a request reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from ingressd.routing.conditions import DICE
from tests.support.edge import Running
from tests.support.manifest_edge import ingress_yaml, serving_manifests
from tests.support.spread import backends, fetched, spread_yaml

CANARY = {"canary": "true"}


@asynccontextmanager
async def serving(*ingresses: str, names: tuple[str, ...] = ("app", "new", "newer")) -> AsyncIterator[Running]:
    """An edge with these Ingresses; the Services `app`, `new` and `newer` answer with their names."""
    async with backends(*names) as each:
        services = spread_yaml({name: [one.port] for name, one in each.items()})
        async with serving_manifests(services + "".join(ingresses)) as edge:
            yield edge


def canary(annotations: Mapping[str, str], *, name: str = "z-new", service: str = "new", path: str = "/") -> str:
    return ingress_yaml({**CANARY, **annotations}, name=name, service=service, path=path)


MAIN = ingress_yaml({})


async def test_a_header_decides_before_a_cookie_and_a_cookie_before_the_weight() -> None:
    rules = {"canary-by-header": "X-Canary", "canary-by-cookie": "canary", "canary-weight": "100"}
    async with serving(MAIN, canary(rules)) as edge:
        assert (await fetched(edge))[0] == "new"
        assert (await fetched(edge, X_Canary="never"))[0] == "app"
        assert (await fetched(edge, X_Canary="never", Cookie="canary=always"))[0] == "app"
        assert (await fetched(edge, Cookie="canary=never"))[0] == "app"
        assert (await fetched(edge, X_Canary="always", Cookie="canary=never"))[0] == "new"
        assert (await fetched(edge, X_Canary="perhaps", Cookie="canary=never"))[0] == "app"
        assert (await fetched(edge, X_Canary="perhaps", Cookie="canary=perhaps"))[0] == "new"


async def test_a_weight_of_nothing_is_never_and_a_whole_one_always() -> None:
    for weight, expected in (("0", "app"), ("100", "new")):
        async with serving(MAIN, canary({"canary-weight": weight})) as edge:
            assert {(await fetched(edge))[0] for _ in range(20)} == {expected}
    async with serving(MAIN, canary({})) as edge:
        assert {(await fetched(edge))[0] for _ in range(20)} == {"app"}


async def test_several_canaries_share_one_draw_and_each_answers_its_own_header() -> None:
    older = canary({"canary-weight": "20", "canary-by-header": "X-One"}, name="x-new")
    newer = canary({"canary-weight": "30", "canary-by-header": "X-Two"}, name="y-newer", service="newer")
    async with serving(MAIN, older, newer) as edge:
        DICE.seed(7)
        counts = Counter([(await fetched(edge))[0] for _ in range(400)])
        # Four standard deviations of a share of 20 and of 30 in 400 draws are 8 and 9.2 in 100.
        assert 80 - 32 < counts["new"] < 80 + 32
        assert 120 - 37 < counts["newer"] < 120 + 37
        assert (await fetched(edge, X_Two="always"))[0] == "newer"
        assert (await fetched(edge, X_One="always"))[0] == "new"
        assert (await fetched(edge, X_One="always", X_Two="always"))[0] == "new"


async def test_a_canary_does_what_its_main_ingress_does_and_is_logged_as_itself() -> None:
    main = ingress_yaml({"upstream-vhost": "inner.test", "enable-cors": "true"})
    ignored = {"canary-by-header": "X-Canary", "upstream-vhost": "other.test", "enable-cors": "false"}
    async with backends("app", "new") as each:
        services = spread_yaml({name: [one.port] for name, one in each.items()})
        async with serving_manifests(services + main + canary(ignored)) as edge:
            who, fields = await fetched(edge, X_Canary="always", Origin="https://page.test")
            assert who == "new"
            assert "access-control-allow-origin" in fields
            assert b"Host: inner.test\r\n" in each["new"].peers[0].received
            (entry,) = await edge.logged()
            assert entry.route is not None
            assert (entry.route.ingress, entry.route.service) == ("z-new", "new")


async def test_a_canary_without_its_main_ingress_gets_nothing_and_makes_no_host() -> None:
    everything = ingress_yaml({}, name="wild", host="'*.test'", service="newer")
    async with serving(everything, canary({"canary-weight": "100"})) as edge:
        assert (await fetched(edge))[0] == "newer"
    async with serving(MAIN, canary({"canary-weight": "100"}, path="/other")) as edge:
        assert (await fetched(edge, "/other"))[0] == "app"


async def test_a_broken_pattern_keeps_requests_with_the_header_away() -> None:
    rules = {"canary-by-header": "X-Canary", "canary-by-header-pattern": "(", "canary-weight": "100"}
    async with backends("app", "new") as each:
        services = spread_yaml({name: [one.port] for name, one in each.items()})
        async with serving_manifests(services + MAIN + canary(rules), faulty=True) as edge:
            assert (await fetched(edge, X_Canary="always"))[0] == "app"
            assert (await fetched(edge))[0] == "new"


BETA = {"ingressd.dev/match-headers": "X-Env=beta"}


async def test_conditions_choose_among_ingresses_of_one_path_the_most_exact_first() -> None:
    both = {**BETA, "ingressd.dev/match-query": "v=~^2"}
    one = ingress_yaml(BETA, name="a", service="new")
    two = ingress_yaml(both, name="b", service="newer")
    async with serving(one, two, MAIN) as edge:
        assert (await fetched(edge))[0] == "app"
        assert (await fetched(edge, X_Env="alpha"))[0] == "app"
        assert (await fetched(edge, X_Env="beta"))[0] == "new"
        assert (await fetched(edge, "/?v=2.1", X_Env="beta"))[0] == "newer"
        assert (await fetched(edge, "/?v=%32", X_Env="beta"))[0] == "newer"
        assert (await fetched(edge, "/?v=1", X_Env="beta"))[0] == "new"
        assert (await fetched(edge, "/?v=2"))[0] == "app"


async def test_methods_are_a_condition() -> None:
    writes = ingress_yaml({"ingressd.dev/match-methods": "POST, PUT"}, name="a", service="new")
    async with serving(writes, MAIN) as edge:
        assert (await fetched(edge, method="POST", Content_Length="0"))[0] == "new"
        assert (await fetched(edge))[0] == "app"


async def test_what_no_condition_takes_goes_to_the_next_shorter_path_or_nowhere() -> None:
    deep = ingress_yaml(BETA, name="deep", path="/a/b", service="newer")
    middle = ingress_yaml(BETA, name="middle", path="/a", service="new")
    async with serving(deep, middle, MAIN) as edge:
        assert (await fetched(edge, "/a/b/c", X_Env="beta"))[0] == "newer"
        assert (await fetched(edge, "/a/b/c"))[0] == "app"
        assert (await fetched(edge, "/a", X_Env="beta"))[0] == "new"
    async with serving(middle) as edge:
        assert (await fetched(edge, "/a"))[0] == "404"
        assert (await fetched(edge, "/a", X_Env="beta"))[0] == "new"


async def test_a_condition_that_is_not_understood_takes_nothing() -> None:
    broken = ingress_yaml({"ingressd.dev/match-headers": "X-Env=~("}, name="a", service="new")
    async with backends("app", "new") as each:
        services = spread_yaml({name: [one.port] for name, one in each.items()})
        async with serving_manifests(services + broken + MAIN, faulty=True) as edge:
            assert (await fetched(edge, X_Env="("))[0] == "app"


STICKY = {"affinity": "cookie"}


@pytest.mark.parametrize("behaviour", ["sticky", "legacy"])
async def test_a_session_stays_where_it_began_unless_canary_rules_come_first(behaviour: str) -> None:
    main = ingress_yaml({**STICKY, "affinity-canary-behavior": behaviour})
    async with serving(main, canary({"canary-by-header": "X-Canary"})) as edge:
        who, fields = await fetched(edge, X_Canary="always")
        assert who == "new"
        begun = fields.get("set-cookie", "").partition(";")[0]
        who, fields = await fetched(edge)
        assert who == "app"
        own = fields["set-cookie"].partition(";")[0]
        if behaviour == "sticky":
            assert (await fetched(edge, Cookie=begun))[0] == "new"
            assert (await fetched(edge, Cookie=begun, X_Canary="never"))[0] == "new"
            assert (await fetched(edge, Cookie=own, X_Canary="always"))[0] == "app"
        else:
            assert begun == "", "the canary has no affinity of its own"
            assert (await fetched(edge, Cookie=own, X_Canary="always"))[0] == "new"
