"""nginx's variables: what each one is worth, and that a name which nginx lacks is found when the value is read."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.variables import VARIABLES, Template
from tests.support.asked import asked
from tests.support.edge import route

REQUEST = asked(
    "https://A.test:8443/shop%20one/?id=7&Sort=up",
    method="PUT",
    headers={
        "Authorization": "Basic YW5uOnNlY3JldA==",
        "Content-Type": "text/plain",
        "Cookie": "a=1; session=xyz",
        "X-User-Id": "42",
        "X-Forwarded-For": "203.0.113.9",
    },
    route=route("a.test", "/shop"),
    port=443,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no variable", "no variable"),
        ("", ""),
        ("$scheme://$host$request_uri", "https://a.test/shop%20one/?id=7&Sort=up"),
        ("$http_host", "A.test:8443"),
        ("$best_http_host", "A.test:8443"),
        ("$uri", "/shop%20one/"),
        ("$document_uri", "/shop%20one/"),
        ("$uri$is_args$args", "/shop%20one/?id=7&Sort=up"),
        ("$query_string", "id=7&Sort=up"),
        ("${request_method}ting", "PUTting"),
        ("$remote_addr:$remote_port", "192.0.2.7:40000"),
        ("$binary_remote_addr", "192.0.2.7"),
        ("$the_real_ip", "192.0.2.7"),
        ("$proxy_add_x_forwarded_for", "203.0.113.9, 192.0.2.7"),
        ("$http_x_user_id|$http_x_absent", "42|"),
        ("$cookie_session$cookie_none", "xyz"),
        ("$arg_id,$arg_sort,$arg_none", "7,up,"),
        ("$server_name:$server_port $server_protocol", "a.test:443 HTTP/1.1"),
        ("$request_id", "0123456789abcdef0123456789abcdef"),
        ("$req_id", "0123456789abcdef0123456789abcdef"),
        ("$escaped_request_uri", "%2Fshop%2520one%2F%3Fid%3D7%26Sort%3Dup"),
        ("$content_type$content_length", "text/plain"),
        ("$remote_user", "ann"),
        ("$namespace/$ingress_name -> $service_name:$service_port", "default/test -> app:80"),
        ("$https $location_path $proxy_upstream_name", "on /shop default-app-80"),
        ("$pass_access_scheme $pass_server_port $pass_port $redirect_scheme", "https 443 443 https"),
    ],
)
def test_a_variable_is_worth_what_nginx_says(text: str, value: str) -> None:
    assert Template.parse(text).render(REQUEST) == value


def test_the_time_is_that_of_the_request_in_the_forms_of_nginx() -> None:
    before = time.time()
    msec, iso = Template.parse("$msec $time_iso8601").render(asked()).split()
    assert re.fullmatch(r"[0-9]+\.[0-9]{3}", msec)
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}[+-][0-9]{2}:[0-9]{2}", iso)
    for seconds in (float(msec), datetime.fromisoformat(iso).timestamp()):
        assert int(before) <= seconds <= time.time() + 1


def test_http_is_no_https() -> None:
    assert Template.parse("[$https]").render(asked()) == "[]"


def test_every_variable_has_a_value_for_a_bare_request() -> None:
    for name in VARIABLES:
        assert Template.parse(f"${name}").render(asked()).isprintable()


def test_what_is_left_out_is_empty() -> None:
    assert Template.parse("[$http_a$cookie_a$arg_a$args$is_args$remote_user$server_name]").render(asked()) == "[]"


@pytest.mark.parametrize("text", ["$nope", "${}", "$", "a $ b", "${host", "$http_", "$1", "$cookie_", "$10"])
def test_what_nginx_does_not_have_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match="a text with variables"):
        Template.parse(text)


def test_captures_are_what_the_parts_of_a_path_matched() -> None:
    template = Template.parse("/v2/$2/$1$3", captures=True)
    assert template.render(asked(), ("a", None)) == "/v2//a"


@pytest.mark.parametrize(
    ("text", "value"),
    [("/$10", "/a0"), ("/$1x_y", "/ax_y"), ("/$12$2", "/a2b"), ("/${1}2", "/a2"), ("/$1$host", "/aa.test")],
)
def test_the_number_of_a_capture_is_one_digit_whatever_follows_it(text: str, value: str) -> None:
    assert Template.parse(text, captures=True).render(asked(), ("a", "b")) == value
    with pytest.raises(ValueError, match="a text with variables"):
        Template.parse(text)


@pytest.mark.parametrize("text", ["/$0", "/$0a", "/${10}", "/${1"])
def test_a_number_that_is_no_capture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a text with variables"):
        Template.parse(text, captures=True)


@given(st.text())
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    try:
        template = Template.parse(text, captures=True)
    except ValueError:
        assert "$" in text
    else:
        assert str(template) == text
        if template.fixed:
            assert template.render(asked()) == text


@pytest.mark.parametrize("credentials", ["Basic ???", "Bearer x", "Basic /////w==", "Basic YQpiOmM="])
def test_credentials_that_are_none_have_no_user(credentials: str) -> None:
    assert Template.parse("$remote_user").render(asked(headers={"Authorization": credentials})) == ""
