"""auth-url and its family: what is built of which values, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from ingressd.filters.auth_request import AuthRequest
from ingressd.filters.base import Unusable
from ingressd.filters.destination import Destination
from ingressd.filters.external_auth import DURATIONS, SPEC, ExternalAuth, asked_of
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.variables import Template
from tests.support.asked import asked
from tests.unit.filters.lookup import site

URL = "https://auth.test/check"


def _parsed(annotations: Mapping[str, str]) -> dict[str, Any]:
    return {name: ANNOTATIONS[name].parse(text) for name, text in annotations.items()}


def _built(config_maps: Mapping[str, Mapping[str, str]] | None = None, **annotations: str) -> ExternalAuth:
    names = {"auth-url": URL, **{f"auth-{name.replace('_', '-')}": text for name, text in annotations.items()}}
    made = asked_of(_parsed(names), site(config_maps=config_maps or {}))
    assert made is not None
    return made


def test_defaults_are_those_that_the_reference_names() -> None:
    made = _built()
    assert made == ExternalAuth(
        AuthRequest(Destination.parse(URL), "GET", (), (), None),
        signin=None,
        always_cookie=False,
        cache_key=None,
        durations=((200, 300), (202, 300), (401, 300)),
    )
    assert str(made) == "external-auth: GET https://auth.test"
    assert pickle.loads(pickle.dumps(made)) == made
    defaults = {annotation.name: annotation.default for annotation in SPEC.annotations}
    assert (defaults["auth-method"], defaults["auth-cache-duration"]) == ("GET", DURATIONS)
    assert defaults["auth-signin-redirect-param"] == "rd"


def test_without_a_url_nothing_is_asked() -> None:
    assert asked_of(_parsed({"auth-method": "POST", "auth-signin": "https://a.test/"}), site()) is None


def test_what_is_said_about_a_service_that_nobody_names_is_remarked() -> None:
    alone = _parsed({"auth-signin": "https://auth.test/start", "auth-response-headers": "X-User"})
    (remark,) = SPEC.remarks(alone, site())
    assert (remark.annotation, str(remark)) == (
        "auth-signin",
        "it has no effect, because nobody is asked without auth-url",
    )
    assert not [*SPEC.remarks({**alone, **_parsed({"auth-url": URL})}, site())]


@pytest.mark.parametrize(
    ("signin", "parameter", "location"),
    [
        ("https://auth.test/start", None, "https://auth.test/start?rd=http://a.test%2Fcart%3Fid%3D1"),
        ("https://auth.test/start?a=1", None, "https://auth.test/start?a=1&rd=http://a.test%2Fcart%3Fid%3D1"),
        ("https://auth.test/start?rd=/home", None, "https://auth.test/start?rd=/home"),
        ("https://auth.test/start?xrd=1", None, "https://auth.test/start?xrd=1&rd=http://a.test%2Fcart%3Fid%3D1"),
        ("https://auth.test/start", "to", "https://auth.test/start?to=http://a.test%2Fcart%3Fid%3D1"),
        ("https://auth.test/start?rd=1", "to", "https://auth.test/start?rd=1&to=http://a.test%2Fcart%3Fid%3D1"),
        ("https://auth.test/?rd=$escaped_request_uri", None, "https://auth.test/?rd=%2Fcart%3Fid%3D1"),
        ("/start", None, "/start?rd=http://a.test%2Fcart%3Fid%3D1"),
    ],
)
def test_where_people_sign_in_is_told_where_they_came_from(signin: str, parameter: str | None, location: str) -> None:
    made = _built(signin=signin) if parameter is None else _built(signin=signin, signin_redirect_param=parameter)
    assert made.signin is not None
    assert made.signin.render(asked("http://a.test/cart?id=1")) == location


@pytest.mark.parametrize(
    ("text", "durations"),
    [
        ("200 202 401 5m", ((200, 300), (202, 300), (401, 300))),
        ("200 10s, 401 1h30m,", ((200, 10), (401, 5400))),
        ("5m", ((200, 300), (301, 300), (302, 300))),
        ("any 300", ((0, 300),)),
        ("200", ((200, 200), (301, 200), (302, 200))),
        ("200 1d", ((200, 86_400),)),
    ],
)
def test_durations_are_written_as_for_nginx(text: str, durations: tuple[tuple[int, float], ...]) -> None:
    assert _built(cache_duration=text).durations == durations


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("auth-url", "auth.test"),
        ("auth-method", "TRACE"),
        ("auth-method", "get"),
        ("auth-signin", "start"),
        ("auth-signin", "//evil.test/"),
        ("auth-signin", "https://$nonsense/"),
        ("auth-signin-redirect-param", "a&b"),
        ("auth-response-headers", "a b"),
        ("auth-response-headers", ""),
        ("auth-response-headers", "X-User, Transfer-Encoding"),
        ("auth-response-headers", "Content-Length"),
        ("auth-response-headers", "Host"),
        ("auth-proxy-set-headers", ""),
        ("auth-request-redirect", "$nonsense"),
        ("auth-always-set-cookie", "on"),
        ("auth-cache-key", "$nonsense"),
        ("auth-cache-duration", ""),
        ("auth-cache-duration", "2000 5m"),
        ("auth-cache-duration", "200 5 minutes"),
        ("auth-cache-duration", "200 " + "1" * 100 + "!"),
        ("auth-keepalive", "-1"),
        ("auth-keepalive-share-vars", "on"),
    ],
)
def test_a_value_that_is_not_understood_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError):
        ANNOTATIONS[name].parse(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"Content-Length": "1"}, "the ConfigMap h: Content-Length is no field that can be set"),
        ({"Transfer-Encoding": "chunked"}, "the ConfigMap h: Transfer-Encoding is no field that can be set"),
        ({"a b": "1"}, "the ConfigMap h: a b is no field that can be set"),
        ({"X-A": "1\r\nX-B: 2"}, "the ConfigMap h: the value of X-A is more than one line"),
        ({"X-A": "$nonsense"}, "the ConfigMap h: the value of X-A must be a text with variables that nginx has"),
    ],
)
def test_fields_that_cannot_be_set_are_named(data: dict[str, str], message: str) -> None:
    with pytest.raises(Unusable) as problem:
        _built({"h": data}, proxy_set_headers="h")
    assert problem.value.annotation == "auth-proxy-set-headers"
    assert str(problem.value).startswith(message)


def test_fields_for_the_service_are_templates() -> None:
    made = _built({"h": {"X-A": "$host\n"}}, proxy_set_headers="h")
    assert made.ask.set_headers == (("x-a", Template.parse("$host")),)
    with pytest.raises(Unusable, match="there is no ConfigMap h"):
        _built(proxy_set_headers="h")


def test_what_decides_who_passes_closes_the_route_when_it_is_not_understood() -> None:
    guards = {annotation.name for annotation in SPEC.annotations if annotation.guard}
    assert guards == {"auth-url", "auth-method", "auth-response-headers", "auth-proxy-set-headers"}
