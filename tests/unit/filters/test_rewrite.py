"""rewrite-target, use-regex, x-forwarded-prefix: values, what endpoints are asked for, what is remarked."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from ingressd.errors import LocalReply, Reason
from ingressd.filters import rewrite
from ingressd.filters.base import Site
from ingressd.filters.registry import ANNOTATIONS, CHAIN
from ingressd.filters.rewrite import SPEC, Rewrite, RewriteTarget
from ingressd.filters.variables import Template
from tests.support.asked import Asked, asked


def _rewrite(path: str, target: str, prefix: str | None = None) -> Rewrite:
    values: dict[str, Any] = {"rewrite-target": ANNOTATIONS["rewrite-target"].parse(target)}
    if prefix is not None:
        values["x-forwarded-prefix"] = ANNOTATIONS["x-forwarded-prefix"].parse(prefix)
    built = SPEC.build(values, Site("a.test", tls=False, https=False, https_redirect_port=443, path=path, regex=True))
    assert isinstance(built, Rewrite)
    return built


def _sent(request: Asked) -> str | None:
    return None if request.edits is None else request.edits.target


@pytest.mark.parametrize(
    ("path", "target", "asked_for", "sent"),
    [
        ("/something(/|$)(.*)", "/$2", "/something/new?x=1", "/new?x=1"),
        ("/something(/|$)(.*)", "/$2", "/something", "/"),
        ("/something(/|$)(.*)", "/$2", "/Something/a%20b", "/a%20b"),
        ("/something(/|$)(.*)", "/$2", "/something/a%3Fb%23c%25d", "/a%3Fb%23c%25d"),
        ("/something(/|$)(.*)", "/$2", "/something/a%2Fb", "/a%2Fb"),
        ("/something(/|$)(.*)", "/$2", "/something/caf%c3%a9", "/caf%C3%A9"),
        ("/foo", "/", "/foo/bar?x", "/?x"),
        ("/foo", "/bar?", "/foo?x", "/bar"),
        ("/foo", "/bar?y=1", "/foo?x", "/bar?y=1&x"),
        ("/foo", "/bar?y=1?", "/foo?x", "/bar?y=1"),
        ("/foo", "/bar?y=1", "/foo", "/bar?y=1"),
        ("/q/(.*)", "/s?t=$1", "/q/a&b+c", "/s?t=a%26b%2Bc"),
        ("/q/(.*)", "/s?$arg_none", "/q/a?x=1", "/s?x=1"),
        ("/api(/.*)", "$1", "/api/x", "/x"),
        ("/api(/.*)?", "$1", "/api", "/"),
        ("/api/(.*)", "$1", "/api/x", "/x"),
        ("/(.*)", "/$host/$1", "/x", "/a.test/x"),
        ("/(.*)", "/$http_x/$1", "/x", "/%C3%A9%20v/x"),
        ("/(.*)", "/caf\u00e9 $1", "/x", "/caf%C3%A9%20x"),
        ("/(.*)", "/a//$1", "/x", "/a//x"),
        ("/(a)?b", "/x$1", "/b", "/x"),
        ("/foo|/bar(.*)", "/x$1", "/y/bar/z", "/x/z"),
    ],
)
def test_the_whole_path_is_replaced_and_the_query_kept(path: str, target: str, asked_for: str, sent: str) -> None:
    for _ in range(2):  # a path that comes again is remembered
        request = asked(f"http://a.test{asked_for}", headers={"x": "\u00e9 v"})
        assert _rewrite(path, target).on_request(request) is None
        assert _sent(request) == sent


def test_what_is_remembered_of_a_path_holds_for_its_pattern_and_its_target_and_for_every_query() -> None:
    for path, target, asked_for, sent in (
        ("/a/(.*)", "/$1", "/a/b?x=1", "/b?x=1"),
        ("/a/(.*)", "/$1", "/a/b?x=2", "/b?x=2"),
        ("/a/(.*)", "/$1?", "/a/b?x=2", "/b"),
        ("/(.*)", "/$1", "/a/b", "/a/b"),
        ("/a/(.*)", "/new/$1", "/a/b", "/new/b"),
    ):
        request = asked(f"http://a.test{asked_for}")
        assert _rewrite(path, target).on_request(request) is None
        assert _sent(request) == sent


def test_only_so_many_paths_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite, "_REMEMBERED", 3)
    monkeypatch.setattr(rewrite, "_rewritten", {})
    made = _rewrite("/a/(.*)", "/$1")
    for path in ("1", "2", "3", "4", "1", "x" * rewrite._REMEMBERED_CHARACTERS):
        request = asked(f"http://a.test/a/{path}")
        assert made.on_request(request) is None
        assert _sent(request) == f"/{path}"
        assert len(rewrite._rewritten) <= 3
    assert all(len(path) <= rewrite._REMEMBERED_CHARACTERS for _, _, path in rewrite._rewritten)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("https://other.test/$1", "https://other.test/b?c=d"),
        ("http://other.test/$1?", "http://other.test/b"),
        ("$scheme://[::1]:81/$1?e", "http://[::1]:81/b?e&c=d"),
        ("${scheme}://$host/$1", "http://a.test/b?c=d"),
    ],
)
def test_a_target_that_is_a_url_is_redirected_to(target: str, location: str) -> None:
    reply = _rewrite("/a/(.*)", target).on_request(asked("http://a.test/a/b?c=d"))
    assert reply is not None
    assert (reply.status, reply.reason, reply.headers) == (
        302,
        Reason.REDIRECT,
        ((b"Location", location.encode()),),
    )


def test_what_the_expression_does_not_find_is_left_as_it_is() -> None:
    request = asked("http://a.test/other")
    assert _rewrite("/foo", "/bar", "/p").on_request(request) is None
    assert request.edits is None


def test_a_target_with_what_no_request_can_hold_is_refused() -> None:
    with pytest.raises(LocalReply) as refusal:
        _rewrite("/(.*)", "/$http_x").on_request(asked("http://a.test/x", headers={"x": "a#b"}))
    assert refusal.value.status == 400


def test_the_prefix_is_sent_with_a_rewritten_target_only() -> None:
    request = asked("http://a.test/p/x")
    _rewrite("/(p)/(.*)", "/$2", "/$1").on_request(request)
    assert request.sent["x-forwarded-prefix"] == "/p"
    site = Site("a.test", tls=False, https=False, https_redirect_port=443, path="/p")
    assert SPEC.build({"x-forwarded-prefix": Template.parse("/p")}, site) is None


@pytest.mark.parametrize(
    ("path", "path_type"), [("/same", "Prefix"), ("/", "Default"), ("/(open", "Regex")], ids=["same", "default", "bad"]
)
def test_a_target_that_is_the_path_itself_a_default_backend_and_a_bad_expression_rewrite_nothing(
    path: str, path_type: str
) -> None:
    values = {"rewrite-target": RewriteTarget.parse("/same")}
    site = Site("a.test", tls=False, https=False, https_redirect_port=443, path=path, path_type=path_type)
    assert SPEC.build(values, site) is None


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("rewrite-target", "", 'a path or a URL, as in "/$2"'),
        ("rewrite-target", "/a\nb", 'a path or a URL, as in "/$2"'),
        ("rewrite-target", "/$nothing", "a text with variables that nginx has: it has no $nothing"),
        ("rewrite-target", "/$0x", "a text with variables that nginx has: it has no $0x"),
        ("x-forwarded-prefix", "/a\r\nb", 'the value of a field, as in "/app"'),
        ("use-regex", "yes", '"true" or "false"'),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_what_it_must_be(name: str, text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        ANNOTATIONS[name].parse(text)
    assert str(caught.value) == why


def test_the_defaults_are_those_of_the_reference() -> None:
    assert [ANNOTATIONS[name].default for name in ("use-regex", "rewrite-target", "x-forwarded-prefix")] == [
        "false",
        "none",
        "none",
    ]


def test_captures_that_a_path_does_not_have_and_a_prefix_without_a_target_are_remarked() -> None:
    site = Site("a.test", tls=False, https=False, https_redirect_port=443, path="/a(/.*)", regex=True)
    (remark,) = SPEC.remarks({"rewrite-target": RewriteTarget.parse("/$1?x=$3")}, site)
    assert str(remark) == "$3 is always empty: the path /a(/.*) has fewer parentheses"
    assert not [*SPEC.remarks({"rewrite-target": RewriteTarget.parse("$1")}, site)]
    (remark,) = SPEC.remarks({"x-forwarded-prefix": Template.parse("/x")}, site)
    assert remark.annotation == "x-forwarded-prefix"


def test_it_travels_to_a_worker_says_what_it_does_and_runs_after_cors_and_before_the_redirect_to_https() -> None:
    rewrite = _rewrite("/a/(.*)", "/$1", "/a")
    assert pickle.loads(pickle.dumps(rewrite)) == rewrite
    assert str(rewrite) == "rewrite-target: /a/(.*) to /$1, X-Forwarded-Prefix: /a"
    names = [spec.name for spec in CHAIN]
    order = [names.index(name) for name in ("app-root", "permanent-redirect, temporal-redirect", SPEC.name)]
    assert [*order, names.index("ssl-redirect")] == sorted([*order, names.index("ssl-redirect")])
