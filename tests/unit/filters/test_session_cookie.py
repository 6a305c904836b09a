"""Sessions: where a cookie leads, when it is set, and what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.base import Site
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.session_cookie import SPEC, SessionCookie, mark_of, tag_of
from ingressd.proxy.response import OutgoingResponse
from tests.support.asked import Asked, asked
from tests.support.edge import route
from tests.unit.filters.endpoints import Place, places

SITE = Site("a.test", tls=False, https=False, https_redirect_port=443, path="/app")
ROUTE = route(path="/app")
COOKIE = "INGRESSCOOKIE"


def values(**annotations: str) -> dict[str, Any]:
    names = {key.replace("_", "-"): value for key, value in annotations.items()}
    return {name: ANNOTATIONS[name].parse(text) for name, text in {"affinity": "cookie", **names}.items()}


def built(**annotations: str) -> SessionCookie:
    made = SPEC.build(values(**annotations), SITE)
    assert isinstance(made, SessionCookie)
    return made


class Visit:
    """One request of a client, endpoint by endpoint."""

    def __init__(self, cookie: SessionCookie, sent: str = "", url: str = "http://a.test/app") -> None:
        self.cookie = cookie
        self.request: Asked = asked(url, headers={"Cookie": f"{cookie.name}={sent}"} if sent else {}, route=ROUTE)
        cookie.on_request(self.request)
        self.tried: list[Place] = []

    def choose(self, endpoints: list[Place]) -> Place | None:
        affinity = self.request.preferred
        assert affinity is not None
        return affinity.choose(endpoints, tuple(self.tried))

    def set_cookie(self, endpoint: Place, *, reason: str = "") -> str:
        """The Set-Cookie of an answer from there; empty = none."""
        response = OutgoingResponse(200, (), reason, endpoint.key)
        self.cookie.on_response(self.request, response)
        return response.header("set-cookie") or ""

    def value(self, endpoint: Place) -> str:
        """The value that is set."""
        return self.set_cookie(endpoint).partition(";")[0].partition("=")[2]


def began(cookie: SessionCookie, endpoints: list[Place]) -> tuple[Place, str]:
    """Where a new session is, and its cookie."""
    visit = Visit(cookie)
    endpoint = visit.choose(endpoints) or endpoints[0]
    return endpoint, visit.value(endpoint)


def test_nothing_is_done_without_affinity_or_at_the_address_of_a_service() -> None:
    assert SPEC.build({"session-cookie-name": "a"}, SITE) is None
    assert SPEC.build(values(service_upstream="true"), SITE) is None


def test_the_defaults_are_those_of_ingress_nginx() -> None:
    cookie = built()
    assert (cookie.name, cookie.persistent, cookie.change_on_failure, cookie.sticky) == (COOKIE, False, False, True)
    (endpoint,) = places(1)
    written = Visit(cookie)
    written.choose([endpoint])
    assert written.set_cookie(endpoint).partition("; ")[2] == "Path=/app; HttpOnly"
    assert str(cookie) == "session cookie INGRESSCOOKIE (balanced)"


@pytest.mark.parametrize(
    ("annotations", "url", "expected"),
    [
        ({}, "https://a.test/app", "Path=/app; Secure; HttpOnly"),
        ({"session_cookie_secure": "false"}, "https://a.test/app", "Path=/app; HttpOnly"),
        ({"session_cookie_secure": "true"}, "http://a.test/app", "Path=/app; Secure; HttpOnly"),
        ({"session_cookie_path": "/"}, "http://a.test/app", "Path=/; HttpOnly"),
        ({"session_cookie_domain": ".a.test"}, "http://a.test/app", "Path=/app; Domain=.a.test; HttpOnly"),
        ({"session_cookie_samesite": "lax"}, "http://a.test/app", "Path=/app; HttpOnly; SameSite=Lax"),
        (
            {"session_cookie_samesite": "None", "session_cookie_conditional_samesite_none": "true"},
            "http://a.test/app",
            "Path=/app; HttpOnly; SameSite=None",
        ),
        ({"session_cookie_max_age": "60"}, "http://a.test/app", "Path=/app; Max-Age=60; HttpOnly"),
        ({"session_cookie_partitioned": "true"}, "http://a.test/app", "Path=/app; HttpOnly; Partitioned"),
    ],
)
def test_the_cookie_has_the_attributes_that_are_asked_for(annotations: dict[str, str], url: str, expected: str) -> None:
    visit = Visit(built(**annotations), url=url)
    (endpoint,) = places(1)
    visit.choose([endpoint])
    assert visit.set_cookie(endpoint).partition("; ")[2] == expected


def test_expires_is_a_moment() -> None:
    visit = Visit(built(session_cookie_expires="3600"))
    (endpoint,) = places(1)
    visit.choose([endpoint])
    assert "; Expires=" in visit.set_cookie(endpoint)


def test_where_paths_are_expressions_the_cookie_is_for_everything_and_that_is_said() -> None:
    regex = replace(SITE, path="/app(/|$)(.*)", regex=True)
    made = SPEC.build(values(), regex)
    assert isinstance(made, SessionCookie)
    assert made.attributes.path == "/"
    (remark,) = SPEC.remarks(values(), regex)
    assert "regular expression" in str(remark)
    assert not list(SPEC.remarks(values(session_cookie_path="/app"), regex))
    assert not list(SPEC.remarks(values(), SITE))


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
def test_a_session_stays_with_its_endpoint_and_no_cookie_is_set_again(mode: str) -> None:
    cookie = built(affinity_mode=mode)
    for _ in range(50):
        endpoint, value = began(cookie, places(5))
        again = Visit(cookie, value)
        assert again.choose(places(5)) == endpoint
        assert again.set_cookie(endpoint) == ""


def test_new_sessions_are_spread() -> None:
    counts = Counter(began(built(), places(4))[0] for _ in range(800))
    # Five standard deviations of a quarter of 800 are 61.
    assert all(abs(counts[endpoint] - 200) < 62 for endpoint in places(4))
    assert Visit(built(affinity_mode="persistent")).choose(places(4)) is None, "the scheduler picks"


def test_when_endpoints_are_added_a_balanced_session_may_move_and_a_persistent_one_may_not() -> None:
    moved = 0
    for _ in range(200):
        endpoint, value = began(built(), places(3))
        visit = Visit(built(), value)
        now = visit.choose(places(4))
        assert now in (endpoint, places(4)[3])
        if now != endpoint:
            moved += 1
            assert now is not None
            token, mark, tag = visit.value(now).split(".")
            assert (token, tag) == (value.split(".")[0], value.split(".")[2])
            assert mark == mark_of(now.key, tag)
        persistent = built(affinity_mode="persistent")
        endpoint, value = began(persistent, places(3))
        assert Visit(persistent, value).choose(places(4)) == endpoint
    # A quarter moves: six standard deviations of 200 draws are 37.
    assert 50 - 37 < moved < 50 + 37


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
def test_when_its_endpoint_is_gone_the_session_begins_anew(mode: str) -> None:
    cookie = built(affinity_mode=mode)
    endpoint, value = began(cookie, places(3))
    left = [each for each in places(3) if each != endpoint]
    visit = Visit(cookie, value)
    now = visit.choose(left) or left[0]
    assert now in left
    new = visit.value(now)
    assert new
    assert new.split(".")[0] != value.split(".")[0]
    # When the first endpoint comes back, a persistent session stays; a balanced one moves only by its new token.
    if mode == "persistent":
        assert Visit(cookie, new).choose(places(3)) == now


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
def test_another_endpoint_may_answer_for_once_without_a_new_cookie(mode: str) -> None:
    cookie = built(affinity_mode=mode)
    endpoint, value = began(cookie, places(3))
    visit = Visit(cookie, value)
    assert visit.choose(places(3)) == endpoint
    visit.tried = [endpoint]
    now = visit.choose(places(3)) or next(each for each in places(3) if each != endpoint)
    assert now != endpoint
    assert visit.set_cookie(now) == ""


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
def test_with_change_on_failure_the_session_moves_to_who_answered_and_stays_there(mode: str) -> None:
    cookie = built(affinity_mode=mode, session_cookie_change_on_failure="true")
    for _ in range(30):
        endpoint, value = began(cookie, places(3))
        visit = Visit(cookie, value)
        assert visit.choose(places(3)) == endpoint
        visit.tried = [endpoint]
        now = visit.choose(places(3)) or next(each for each in places(3) if each != endpoint)
        assert now != endpoint
        again = Visit(cookie, visit.value(now))
        assert again.choose(places(3)) == now
        assert again.set_cookie(now) == ""


def test_a_session_that_begins_at_the_second_attempt_stays_where_it_was_answered() -> None:
    for _ in range(30):
        visit = Visit(built())
        first = visit.choose(places(3))
        assert first is not None
        visit.tried = [first]
        second = visit.choose(places(3))
        assert second not in (None, first)
        assert second is not None
        assert Visit(built(), visit.value(second)).choose(places(3)) == second


def test_an_answer_that_the_proxy_makes_sets_no_cookie() -> None:
    visit = Visit(built())
    (endpoint,) = places(1)
    visit.choose([endpoint])
    assert visit.set_cookie(endpoint, reason="no_endpoints") == ""


def test_cookies_of_other_pools_and_modes_are_not_understood() -> None:
    endpoint, value = began(built(), places(3))
    tag = tag_of("default/other:80")
    foreign = f"{value.rpartition('.')[0]}.{tag}"
    assert Visit(built(), foreign).value(endpoint).endswith(tag_of(ROUTE.pool))
    assert Visit(built(affinity_mode="persistent"), value).choose(places(3)) is None


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=60))
def test_whatever_a_client_makes_up_leads_to_an_endpoint_and_to_a_new_cookie(value: str) -> None:
    for made_up in (value, f"{value}.{tag_of(ROUTE.pool)}", f"{value}.{value}.{tag_of(ROUTE.pool)}"):
        visit = Visit(built(), made_up)
        endpoint = visit.choose(places(3))
        assert endpoint in places(3)
        assert endpoint is not None
        assert visit.value(endpoint) not in ("", made_up)


def test_no_address_is_in_the_cookie() -> None:
    endpoint, value = began(built(affinity_mode="persistent"), places(3))
    assert endpoint.key.partition(":")[0] not in value
    assert mark_of(endpoint.key, tag_of("one")) != mark_of(endpoint.key, tag_of("two"))
