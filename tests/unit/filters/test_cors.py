"""CORS: which origins are allowed, what a preflight gets, and what is added to answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.base import Site
from ingressd.filters.cors import SPEC, Cors, Origins
from ingressd.filters.partly import Partly
from ingressd.filters.registry import ANNOTATIONS
from ingressd.proxy.response import OutgoingResponse
from tests.support.asked import asked

SITE = Site("a.test", tls=False, https=False, https_redirect_port=443)


def built(**annotations: str) -> Cors:
    names = {key.replace("_", "-"): value for key, value in annotations.items()}
    values = {name: ANNOTATIONS[name].parse(text) for name, text in {"enable-cors": "true", **names}.items()}
    made = SPEC.build(values, SITE)
    assert isinstance(made, Cors)
    return made


def answered(cors: Cors, origin: str | None, *lines: bytes) -> dict[str, str]:
    response = OutgoingResponse(200, lines, "", "127.0.0.1:80")
    cors.on_response(asked(headers={} if origin is None else {"Origin": origin}), response)
    return {name.lower(): value for name, value in response.fields.pairs()}


def test_nothing_is_done_unless_it_is_enabled() -> None:
    for values in ({}, {"enable-cors": False}, {"cors-allow-origin": Origins.parse("*")}):
        assert SPEC.build(values, SITE) is None


def test_the_defaults_are_those_of_ingress_nginx() -> None:
    assert answered(built(), "https://page.test") == {
        "access-control-allow-origin": "*",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, PUT, POST, DELETE, PATCH, OPTIONS",
        "access-control-allow-headers": "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,"
        "Content-Type,Range,Authorization",
        "access-control-max-age": "1728000",
    }


def test_every_annotation_says_its_part() -> None:
    cors = built(
        cors_allow_origin="https://page.test",
        cors_allow_methods="GET, POST",
        cors_allow_headers="X-One",
        cors_allow_credentials="false",
        cors_expose_headers="X-Two, X-Three",
        cors_max_age="60",
    )
    assert answered(cors, "https://page.test") == {
        "vary": "Origin",
        "access-control-allow-origin": "https://page.test",
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "X-One",
        "access-control-expose-headers": "X-Two, X-Three",
        "access-control-max-age": "60",
    }


@pytest.mark.parametrize("origin", [None, "https://other.test", "https://page.test.evil.test", "null", "page.test"])
def test_another_origin_gets_no_field_not_even_the_endpoints(origin: str | None) -> None:
    fields = answered(
        built(cors_allow_origin="https://page.test"), origin, b"Access-Control-Allow-Origin: *\r\n", b"X-App: 1\r\n"
    )
    assert fields == {"x-app": "1", "vary": "Origin"}


@pytest.mark.parametrize(
    ("allowed", "origin", "allows"),
    [
        ("https://page.test", "https://PAGE.test", True),
        ("https://page.test", "http://page.test", False),
        ("https://page.test", "https://page.test:8443", False),
        ("https://page.test:8443", "https://page.test:8443", True),
        ("https://*.page.test", "https://one.page.test", True),
        ("https://*.page.test", "https://page.test", False),
        ("https://*.page.test", "https://one.two.page.test", False),
        ("https://*.page.test", "https://.page.test", False),
        ("https://*.page.test", "https://evil.test/.page.test", False),
        ("https://*.page.test:8443", "https://one.page.test:8443", True),
        ("https://*.page.test:8443", "https://one.page.test", False),
        ("http://a.test, https://b.test", "https://b.test", True),
        ("*, https://b.test", "https://c.test", True),
        ("http://[::1]:3000", "http://[::1]:3000", True),
        ("chrome-extension://abcdef", "chrome-extension://abcdef", True),
    ],
)
def test_an_origin_is_allowed_or_not(allowed: str, origin: str, allows: bool) -> None:
    assert Origins.parse(allowed).allows(origin) is allows


@pytest.mark.parametrize("text", ["", ",", "page.test", "https://", "https://*", "https://a.*.test", "https://a.test/"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="origins with commas"):
        Origins.parse(text)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("https://a.test, b.test", {"https://a.test"}),
        ("b.test", set()),
        ("", set()),
        ("https://a.test, https://*, https://c.test", {"https://a.test", "https://c.test"}),
    ],
)
def test_an_origin_that_is_none_allows_nobody_and_the_others_stay(text: str, allowed: set[str]) -> None:
    with pytest.raises(Partly) as caught:
        Origins.parse(text)
    assert caught.value.value == Origins(False, frozenset(allowed), ())


@pytest.mark.parametrize("name", ["cors-allow-methods", "cors-allow-headers", "cors-expose-headers"])
@pytest.mark.parametrize("text", ["", "a b", "a,,b", "a\r\nSet-Cookie: x", "a;b"])
def test_a_list_of_names_is_nothing_else(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="with commas between them"):
        ANNOTATIONS[name].parse(text)


@given(st.text())
def test_no_origin_that_a_client_makes_up_ends_its_line(origin: str) -> None:
    wildcard = Origins.parse("https://*.page.test")
    if wildcard.allows(origin):
        label = origin.lower().removeprefix("https://").removesuffix(".page.test")
        assert label
        assert "." not in label
        assert "/" not in label


def test_options_is_answered_and_nothing_else_is() -> None:
    reply = built().on_request(asked(method="OPTIONS"))
    assert reply is not None
    assert (reply.status, reply.reason) == (204, "cors_preflight")
    assert built().on_request(asked(method="GET")) is None
