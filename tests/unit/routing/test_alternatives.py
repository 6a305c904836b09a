"""Alternatives: who has a request of one host and path, and where what nobody takes goes."""

from __future__ import annotations

from dataclasses import replace

from ingressd.routing.conditions import HEADER, All, Canary, Decided, Field, Share
from ingressd.routing.table import RoutingTable
from ingressd.routing.trace import Outcome, Trace
from ingressd.table.route import ANY_HOST, DEFAULT, Alternative, Route, VirtualHost
from ingressd.table.snapshot import Snapshot
from tests.support.asked import asked
from tests.support.edge import route

DEBUG = All((Field(HEADER, "x-debug"),))
TRACED = {"X-Debug": "1"}


def conditional(path: str, *alternatives: Alternative) -> Route:
    return route(path=path, id=f"* {path} Prefix", alternatives=alternatives, conditional=True)


def table(*routes: Route, default: Route | None = None, last: Route | None = None) -> RoutingTable:
    host = VirtualHost("a.test", routes, default)
    return RoutingTable(Snapshot(hosts={"a.test": host}, default=last))


def decided(routing: RoutingTable, path: str, **headers: str) -> Route | None:
    request = asked(f"http://a.test{path}", headers=headers)
    found = routing.match("a.test", path)
    return found if found is None or not found.alternatives else routing.decide(found, "a.test", path, request)


MAIN = route(path="/")
SOME = route(path="/x", id="some")
OTHER = route(path="/x", id="other")


def test_the_first_alternative_that_takes_the_request_has_it() -> None:
    both = (Alternative(DEBUG, SOME), Alternative(DEBUG, OTHER))
    routing = table(replace(MAIN, alternatives=both))
    assert decided(routing, "/", **TRACED) == SOME
    found = decided(routing, "/")
    assert found is not None
    assert found.id == MAIN.id


def test_what_no_alternative_takes_goes_to_shorter_paths_their_alternatives_included() -> None:
    deep = conditional("/x/y", Alternative(All((Field(HEADER, "x-other"),)), OTHER))
    middle = conditional("/x", Alternative(DEBUG, SOME))
    routing = table(deep, middle, MAIN)
    assert decided(routing, "/x/y", X_Other="1") == MAIN
    assert decided(routing, "/x/y", **TRACED) == SOME
    assert decided(routing, "/x/y", **{"X-Other": "1"}) == OTHER
    assert decided(routing, "/x/y") == MAIN


def test_what_nobody_takes_goes_to_the_default_backends_or_to_nobody() -> None:
    only = conditional("/x", Alternative(DEBUG, SOME))
    own = route(path="/", path_type=DEFAULT, id="own")
    last = route(ANY_HOST, path="/", path_type=DEFAULT, id="last")
    assert decided(table(only, default=own, last=last), "/x") == own
    assert decided(table(only, last=last), "/x") == last
    assert decided(table(only), "/x") is None
    assert decided(table(only), "/x", **TRACED) == SOME


def test_a_trace_names_the_alternatives_and_leaves_chance_out() -> None:
    always = Share(Decided(Canary(weight=100)))
    main = replace(MAIN, alternatives=(Alternative(DEBUG, SOME), Alternative(always, OTHER)))
    routing = table(main)
    for headers, winner in ((TRACED, SOME), ({}, main)):
        trace = Trace()
        found = routing.match("a.test", "/", trace)
        assert found is main
        assert routing.decide(found, "a.test", "/", asked(headers=headers), trace) is winner
        outcomes = {candidate.route.id: candidate.outcome for candidate in trace.candidates()}
        assert outcomes == {
            MAIN.id: Outcome.LOST if winner is SOME else Outcome.WON,
            SOME.id: Outcome.WON if winner is SOME else Outcome.LOST,
            OTHER.id: Outcome.LOST,
        }


def test_a_trace_does_not_show_the_place_of_routes_that_are_all_conditional() -> None:
    only = conditional("/x", Alternative(DEBUG, SOME))
    routing = table(only, MAIN)
    trace = Trace()
    found = routing.match("a.test", "/x", trace)
    assert found is only
    assert routing.decide(only, "a.test", "/x", asked("http://a.test/x"), trace) is MAIN
    shown = {candidate.route.id: (candidate.outcome, candidate.why) for candidate in trace.candidates()}
    assert shown.keys() == {SOME.id, MAIN.id}
    assert shown[SOME.id] == (Outcome.LOST, "it takes only requests with header x-debug")
    assert shown[MAIN.id][0] is Outcome.WON


def test_a_route_tells_of_each_of_its_alternatives_once() -> None:
    twice = (Alternative(DEBUG, SOME), Alternative(DEBUG, OTHER), Alternative(DEBUG, SOME))
    main = replace(MAIN, alternatives=twice)
    assert [each.id for each in main.each()] == [MAIN.id, "some", "other"]
    assert [each.id for each in replace(main, conditional=True).each()] == ["some", "other"]
