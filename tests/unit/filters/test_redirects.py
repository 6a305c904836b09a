"""app-root, permanent-redirect, temporal-redirect, from-to-www-redirect: where they send whom, and which one wins."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from ingressd.errors import LocalReply, Reason
from ingressd.filters import app_root, redirects, www_redirect
from ingressd.filters.base import FilterSpec, Site
from ingressd.filters.partly import Partly
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.www_redirect import WwwRedirect, sibling
from tests.support.asked import asked

SITE = Site("a.test", tls=False, https=False, https_redirect_port=443)


def _answer(spec: FilterSpec, annotations: dict[str, str], url: str) -> tuple[int, str] | None:
    values: dict[str, Any] = {name: ANNOTATIONS[name].parse(text) for name, text in annotations.items()}
    built: Any = spec.build(values, SITE)
    return _shown(built.on_request(asked(url, headers={"x": "a\tb", "referer": "//evil.test"})))


def _shown(reply: LocalReply | None) -> tuple[int, str] | None:
    if reply is None:
        return None
    assert reply.reason is Reason.REDIRECT
    ((name, value),) = reply.headers
    assert name == b"Location"
    return reply.status, value.decode("ascii")


@pytest.mark.parametrize(
    ("annotations", "answer"),
    [
        ({"permanent-redirect": "https://b.test"}, (301, "https://b.test")),
        ({"permanent-redirect": "https://b.test$request_uri"}, (301, "https://b.test/x/?y=%20")),
        ({"permanent-redirect": "$scheme://b.test/", "permanent-redirect-code": "308"}, (308, "http://b.test/")),
        ({"permanent-redirect": "/y?$args"}, (301, "http://a.test:81/y?y=%20")),
        ({"permanent-redirect": "/y", "relative-redirects": "true"}, (301, "/y")),
        ({"permanent-redirect": "/y", "relative-redirects": "false"}, (301, "http://a.test:81/y")),
        ({"permanent-redirect": "/$http_referer", "relative-redirects": "true"}, (301, "/evil.test")),
        ({"permanent-redirect": "https://b.test/$http_x"}, (301, "https://b.test/a%09b")),
        ({"permanent-redirect": "https://b.test/caf\u00e9"}, (301, "https://b.test/caf%C3%A9")),
        ({"temporal-redirect": "https://b.test"}, (302, "https://b.test")),
        ({"temporal-redirect": "https://b.test", "temporal-redirect-code": "307"}, (307, "https://b.test")),
        ({"permanent-redirect": "https://p.test", "temporal-redirect": "https://t.test"}, (302, "https://t.test")),
        (
            {"permanent-redirect": "https://p.test", "temporal-redirect-code": "307"},
            (301, "https://p.test"),
        ),
    ],
)
def test_every_request_is_sent_to_the_url(annotations: dict[str, str], answer: tuple[int, str]) -> None:
    assert _answer(redirects.SPEC, annotations, "http://a.test:81/x/?y=%20") == answer


@pytest.mark.parametrize("spec", [redirects.SPEC, app_root.SPEC])
def test_without_a_place_nothing_is_built(spec: FilterSpec) -> None:
    assert spec.build({"relative-redirects": True, "permanent-redirect-code": 308}, SITE) is None


@pytest.mark.parametrize(
    ("url", "annotations", "answer"),
    [
        ("http://a.test/", {}, (302, "http://a.test/app?x")),
        ("http://a.test:81/?q", {}, (302, "http://a.test:81/app?x")),
        ("https://a.test//", {}, (302, "https://a.test/app?x")),
        ("http://a.test/", {"relative-redirects": "true"}, (302, "/app?x")),
        ("http://a.test/app", {}, None),
    ],
)
def test_the_root_and_nothing_else_is_sent_to_the_application(
    url: str, annotations: dict[str, str], answer: tuple[int, str] | None
) -> None:
    assert _answer(app_root.SPEC, {"app-root": "/app?x", **annotations}, url) == answer


def test_without_a_host_a_location_is_relative() -> None:
    request = asked("http://a.test/")
    request.authority = ""
    built: Any = app_root.SPEC.build({"app-root": "/app"}, SITE)
    assert _shown(built.on_request(request)) == (302, "/app")


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("http://www.a.test/", "http://a.test/"),
        ("https://www.a.test:8443/x/?y=%20", "https://a.test:8443/x/?y=%20"),
        ("http://www.a.test.:8080//x", "http://a.test:8080//x"),
    ],
)
def test_the_other_name_is_sent_to_the_host_with_its_target(url: str, location: str) -> None:
    assert _shown(WwwRedirect("a.test").on_request(asked(url))) == (308, location)
    assert _shown(WwwRedirect("a.test", 302).on_request(asked(url))) == (302, location)


def test_the_name_with_www_and_the_one_without_are_each_others_siblings() -> None:
    assert (sibling("a.test"), sibling("www.a.test"), sibling("wwwa.test")) == ("www.a.test", "a.test", "www.wwwa.test")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("app-root", "app", 'an absolute path, as in "/app"'),
        ("app-root", "/a\nb", 'an absolute path, as in "/app"'),
        (
            "permanent-redirect",
            "b.test",
            'a URL with http or https or an absolute path, as in "https://a.test$request_uri"',
        ),
        (
            "temporal-redirect",
            "https://b.test/ x",
            'a URL with http or https or an absolute path, as in "https://a.test$request_uri"',
        ),
        ("temporal-redirect", "https://$nobody/", "a text with variables that nginx has: it has no $nobody"),
        ("permanent-redirect-code", "309", 'a whole number from 300 to 308, as in "300"'),
        ("temporal-redirect-code", "308", 'a whole number from 300 to 307, as in "300"'),
        ("relative-redirects", "on", '"true" or "false"'),
        ("from-to-www-redirect", "on", '"true" or "false"'),
        ("server-alias", "", '1 to 100 host names with commas, as in "a.test, *.b.test"'),
        ("server-alias", "~^a$", "host names with commas, each labels"),
        ("server-alias", "a.test:80", "host names with commas, each a DNS name without a port: not a.test:80"),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_what_it_must_be(name: str, text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        ANNOTATIONS[name].parse(text)
    assert str(caught.value).startswith(why)


def test_an_alias_that_is_no_name_is_left_out_and_the_others_stay() -> None:
    with pytest.raises(Partly, match=r"not ~\^b") as caught:
        ANNOTATIONS["server-alias"].parse("a.test, ~^b, c.test")
    assert caught.value.value == ("a.test", "c.test")


def test_aliases_are_names_in_lower_case_each_once() -> None:
    assert ANNOTATIONS["server-alias"].parse("B.test, *.c.test,,b.test") == ("b.test", "*.c.test")


def test_the_defaults_are_those_of_the_reference() -> None:
    specs = (app_root.SPEC, redirects.SPEC, www_redirect.SPEC)
    assert {each.name: each.default for spec in specs for each in spec.annotations} == {
        "app-root": "none",
        "permanent-redirect": "none",
        "permanent-redirect-code": "301",
        "temporal-redirect": "none",
        "temporal-redirect-code": "302",
        "relative-redirects": "false",
        "from-to-www-redirect": "false",
    }


def test_they_travel_to_a_worker_and_say_what_they_do() -> None:
    url = ANNOTATIONS["temporal-redirect"].parse("https://b.test$request_uri")
    built = [
        redirects.SPEC.build({"temporal-redirect": url}, SITE),
        app_root.SPEC.build({"app-root": "/app"}, SITE),
        WwwRedirect("a.test"),
    ]
    assert pickle.loads(pickle.dumps(built)) == built
    assert [str(each) for each in built] == [
        "temporal-redirect: 302 to https://b.test$request_uri",
        "app-root: 302 from / to /app",
        "from-to-www-redirect: 308 to a.test",
    ]
