"""Where filters send requests of their own: URLs, who may be asked, Services."""

from __future__ import annotations

import pytest

from ingressd.filters.base import Request, Unusable
from ingressd.filters.destination import Destination, Place, fixed
from ingressd.proxy.services import WorkerServices
from tests.support.asked import asked
from tests.unit.filters.lookup import site


def _place(text: str, request: Request, host: str = "a.test", services: tuple[str, ...] = ()) -> Place | None:
    return Destination.parse(text).at(site(host, services=services), "auth-url").place(request)


@pytest.mark.parametrize(
    ("text", "url", "host"),
    [
        ("https://auth.test/check", "https://auth.test/check", "auth.test"),
        ("http://auth.test:8080", "http://auth.test:8080/", "auth.test:8080"),
        ("http://auth.test?x=1", "http://auth.test/?x=1", "auth.test"),
        ("http://[::1]:81/../a//b/%2e", "http://[::1]:81/../a//b/%2e", "[::1]:81"),
        ("https://$host/oauth2/auth", "https://a.test/oauth2/auth", "a.test"),
        ("https://auth.${host}/x", "https://auth.a.test/x", "auth.a.test"),
        ("http://x.test/?to=$escaped_request_uri", "http://x.test/?to=%2Fcart%3Fid%3D1", "x.test"),
        ("http://x.test$request_uri", "http://x.test/cart?id=1", "x.test"),
        ("https://$host${request_uri}&more", "https://a.test/cart?id=1&more", "a.test"),
        ("http://x.test:81$uri", "http://x.test:81/cart", "x.test:81"),
        ("http://x.test/$http_x_evil", "http://x.test/a%20HTTP/1.1%22%23%5C%3C", "x.test"),
    ],
)
def test_a_url_is_filled_in_and_never_normalised(text: str, url: str, host: str) -> None:
    request = asked("http://a.test/cart?id=1", headers={"X-Evil": 'a HTTP/1.1"#\\<'})
    place = _place(text, request)
    assert place is not None
    assert (str(place.url), place.host, place.server_name) == (url, host, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auth.test/check",
        "ftp://auth.test/",
        "//auth.test/",
        "https:///check",
        "https://user:secret@auth.test/",
        "https://auth.test/#x",
        "https://auth.test/a b",
        "https://auth_test:port/",
        "https://auth.test:99999/",
        "https://bücher.test/",
        "https://$http_host/",
        "https://$http_x/",
        "https://x.test$request_uri_x/",
        "https://x.test$args",
        "https://$uri/",
        "https://$/",
        "https://auth.test/$nonsense",
        "$scheme://auth.test/",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|variable"):
        Destination.parse(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [("https://$host/", ""), ("https://$server_name/", ""), ("https://$server_name/", "*.a.test")],
)
def test_a_route_for_any_host_lets_no_client_say_who_is_asked(text: str, host: str) -> None:
    with pytest.raises(Unusable, match="clients would say who is asked"):
        Destination.parse(text).at(site(host), "auth-url")
    assert Destination.parse("https://auth.test/$host").at(site(host), "auth-url").pool == ""


@pytest.mark.parametrize(
    ("text", "pool"),
    [
        ("http://oauth.login.svc.cluster.local/check", "login/oauth:80"),
        ("http://oauth.login.svc:4180/check", "login/oauth:4180"),
        ("https://oauth.login.svc.cluster.local./check", "login/oauth:443"),
        ("http://OAuth.Login.svc/check", "login/oauth:80"),
        ("http://oauth.login.svc$request_uri", "login/oauth:80"),
        ("http://oauth.login.svc.cluster.local.example/", ""),
        ("http://oauth.login/", ""),
        ("http://gone.login.svc/", ""),
        ("http://a.oauth.login.svc/", ""),
    ],
)
def test_the_name_of_a_service_that_is_known_leads_to_its_pool(text: str, pool: str) -> None:
    assert Destination.parse(text).at(site(services=("login/oauth",)), "auth-url").pool == pool


async def test_a_service_without_an_endpoint_is_no_place(services: WorkerServices) -> None:
    request = asked(services=services)
    assert _place("http://oauth.login.svc/", request, services=("login/oauth",)) is None


def test_a_url_can_be_wanted_without_variables() -> None:
    parse = fixed(Destination.parse)
    assert str(parse("https://issuer.test/keys")) == "https://issuer.test"
    for text in ("https://$host/keys", "https://issuer.test/$host"):
        with pytest.raises(ValueError, match=r"^a URL without variables$"):
            parse(text)
