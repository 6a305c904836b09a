"""Filters that change fields: what they read, what they make of responses, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply
from ingressd.filters.base import Site, Unusable
from ingressd.filters.header_values import headers, names
from ingressd.filters.registry import ANNOTATIONS, SPEC_OF
from ingressd.proxy.response import OutgoingResponse
from tests.support.asked import Asked, asked

SITE = Site("a.test", tls=True, https=True, https_redirect_port=443, namespace="default", ingress="web")


def built(**annotations: str) -> Any:
    named = {key.replace("_", "-"): value for key, value in annotations.items()}
    values = {name: ANNOTATIONS[name].parse(text) for name, text in named.items()}
    (spec,) = {id(SPEC_OF[name]): SPEC_OF[name] for name in values}.values()
    return spec.build(values, SITE)


def changed(made: Any, *lines: bytes, request: Asked | None = None, **response: Any) -> list[tuple[str, str]]:
    given = {"status": 200, "reason": "", "endpoint": "10.0.0.1:80", **response}
    outgoing = OutgoingResponse(given["status"], lines, given["reason"], given["endpoint"])
    assert made.on_response(request or asked(), outgoing) is None
    return outgoing.fields.pairs()


# request-headers, response-headers


def test_fields_of_requests_are_removed_set_and_added() -> None:
    made = built(
        request_headers_remove="X-Old, Accept",
        request_headers_set="X-Host: $host; X-User: $http_x_user_id",
        request_headers_add="X-Tag: one",
    )
    request = asked(headers={"Accept": "*/*", "X-Old": "1", "x-host": "mine", "X-Tag": "zero", "X-User-Id": "7"})
    assert made.on_request(request) is None
    sent = request.forwarded_lines()
    assert ("X-Host", "a.test") in sent
    assert ("X-User", "7") in sent
    assert [value for name, value in sent if name == "X-Tag"] == ["zero", "one"]
    assert not {"x-old", "accept"} & {name.lower() for name, _ in sent}


def test_fields_of_responses_are_removed_set_and_added() -> None:
    made = built(
        response_headers_remove="Server",
        response_headers_set="X-Frame-Options: DENY",
        response_headers_add="Vary: X-One",
    )
    lines = (b"Server: app\r\n", b"x-frame-options: ALLOW\r\n", b"Vary: Accept\r\n")
    assert changed(made, *lines) == [("X-Frame-Options", "DENY"), ("Vary", "Accept"), ("Vary", "X-One")]


def test_several_lines_are_several_fields() -> None:
    assert [name for name, _ in headers("X-One: a; b\nX-Two: c\n")] == ["X-One", "X-Two"]
    assert [str(value) for _, value in headers("X-One: a; b\nX-Two: c\n")] == ["a; b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "no colon",
        "X One: a",
        ": a",
        "Content-Length: 5",
        "Transfer-Encoding: x",
        "Host: b",
        "A: $nope",
        "TE: x",
    ],
)
def test_what_is_no_field_or_not_ours_to_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        headers(text)


@given(st.text())
def test_no_text_makes_a_field_that_ends_its_line(text: str) -> None:
    try:
        found = headers(text)
    except ValueError:
        return
    for name, value in found:
        assert "\r" not in name + str(value)
        assert "\n" not in name + str(value)


@pytest.mark.parametrize("text", ["", ",", "a b", "Content-Length"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        names(text)


def test_a_value_of_the_client_that_is_no_value_is_a_400() -> None:
    made = built(request_headers_set="X-Arg: $arg_a")
    with pytest.raises(LocalReply) as refusal:
        made.on_request(_with_argument("\x01"))
    assert refusal.value.status == 400


def _with_argument(value: str) -> Asked:
    request = asked()
    request.target = f"/?a={value}"
    return request


# hsts


def test_hsts_is_said_over_https_only_and_the_endpoint_may_say_something_else() -> None:
    made = built(hsts="true", hsts_include_subdomains="true", hsts_preload="true", hsts_max_age="60")
    over_tls = asked("https://a.test/")
    assert changed(made, request=over_tls) == [("Strict-Transport-Security", "max-age=60; includeSubDomains; preload")]
    assert changed(made) == []
    own = b"Strict-Transport-Security: max-age=1\r\n"
    assert changed(made, own, request=over_tls) == [("Strict-Transport-Security", "max-age=1")]


def test_hsts_is_off_by_default_and_a_year_long() -> None:
    assert built(hsts="false") is None
    assert built(hsts="true").value == "max-age=31536000"


# proxy-redirect


@pytest.mark.parametrize(
    ("location", "result"),
    [
        ("http://app.internal/shop/x", "http://a.test/x"),
        ("http://other.internal/shop/x", "http://other.internal/shop/x"),
        ("/shop/x", "/shop/x"),
    ],
)
def test_the_beginning_of_a_location_is_replaced(location: str, result: str) -> None:
    made = built(proxy_redirect_from="http://app.internal/shop/", proxy_redirect_to="$scheme://$host/")
    assert changed(made, f"Location: {location}\r\n".encode(), status=302) == [("Location", result)]


def test_refresh_is_changed_too_and_answers_of_the_proxy_are_not() -> None:
    made = built(proxy_redirect_from="http://app/", proxy_redirect_to="/")
    assert changed(made, b"Refresh: 5; url=http://app/x\r\n") == [("Refresh", "5; url=/x")]
    line = b"Location: http://app/x\r\n"
    assert changed(made, line, status=302, reason="redirect") == [("Location", "http://app/x")]


def test_default_means_the_address_of_the_endpoint() -> None:
    made = built(proxy_redirect_from="default")
    line = b"Location: http://10.0.0.1:80/x?y\r\n"
    request = asked("https://a.test:8443/")
    assert changed(made, line, request=request, status=302) == [("Location", "https://a.test:8443/x?y")]
    assert changed(made, b"Location: http://10.0.0.2:80/x\r\n") == [("Location", "http://10.0.0.2:80/x")]


@pytest.mark.parametrize(
    "annotations",
    [
        {"proxy_redirect_from": "off"},
        {"proxy_redirect_from": "off", "proxy_redirect_to": "/"},
        {"proxy_redirect_from": "http://a/", "proxy_redirect_to": "off"},
        {"proxy_redirect_to": "/"},
    ],
)
def test_off_changes_nothing(annotations: dict[str, str]) -> None:
    assert built(**annotations) is None


def test_from_without_to_says_nothing() -> None:
    with pytest.raises(Unusable, match="says nothing without proxy-redirect-to"):
        built(proxy_redirect_from="http://a/")


# proxy-cookie


@pytest.mark.parametrize(
    ("annotations", "cookie", "result"),
    [
        (
            {"proxy_cookie_domain": "app.internal a.test"},
            "s=1; Domain=app.internal; Path=/",
            "s=1; Domain=a.test; Path=/",
        ),
        ({"proxy_cookie_domain": "app.internal $host"}, "s=1; domain=.APP.internal", "s=1; domain=.a.test"),
        ({"proxy_cookie_domain": "app.internal a.test"}, "s=1; Domain=x.app.internal", "s=1; Domain=x.app.internal"),
        ({"proxy_cookie_domain": "~^(.+)[.]internal$ $1.test"}, "s=1; Domain=b.internal", "s=1; Domain=b.test"),
        ({"proxy_cookie_path": "/app/ /"}, "s=1; Path=/app/x; Secure", "s=1; Path=/x; Secure"),
        ({"proxy_cookie_path": "~*^/APP /"}, "s=1; Path=/app/x", "s=1; Path=/"),
        ({"proxy_cookie_path": "/app/ /"}, "path=/app/; HttpOnly", "path=/app/; HttpOnly"),
        ({"proxy_cookie_path": "/app/ /"}, "s=1; Path", "s=1; Path"),
        ({"proxy_cookie_path": "~a+b /"}, f"s=1; Path={'a' * 1023}b", "s=1; Path=/"),
        ({"proxy_cookie_path": "~a+b /"}, f"s=1; Path={'a' * 1024}b", f"s=1; Path={'a' * 1024}b"),
    ],
)
def test_attributes_of_cookies_are_replaced(annotations: dict[str, str], cookie: str, result: str) -> None:
    assert changed(built(**annotations), f"Set-Cookie: {cookie}\r\n".encode()) == [("Set-Cookie", result)]


def test_each_cookie_keeps_a_line_of_its_own() -> None:
    lines = (b"Set-Cookie: a=1; Path=/x/\r\n", b"Set-Cookie: b=2\r\n", b"Set-Cookie: c=3; Path=/x/y\r\n")
    made = built(proxy_cookie_path="/x/ /")
    assert [value for _, value in changed(made, *lines)] == ["a=1; Path=/", "b=2", "c=3; Path=/y"]


@pytest.mark.parametrize("text", ["", "one", "a b c", "~( b", "~(a+)+$ b", "~^(a+)+$ b", "a $nope"])
def test_what_is_no_replacement_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ANNOTATIONS["proxy-cookie-path"].parse(text)


def test_cookies_stay_when_it_is_off() -> None:
    assert built(proxy_cookie_path="off", proxy_cookie_domain="off") is None


# custom-headers: the ConfigMap comes through the compiler, see tests/wire/test_filter_headers.py


@pytest.mark.parametrize("text", ["", " ", "/"])
def test_a_config_map_has_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="ConfigMap"):
        ANNOTATIONS["custom-headers"].parse(text)
