"""load-balance, service-upstream, upstream-vhost and what belongs to them; match-* and canary-* as they are parsed."""

from __future__ import annotations

from typing import Any

import pytest

from ingressd.balancing.registry import SCHEDULERS as REGISTERED
from ingressd.errors import LocalReply
from ingressd.filters import canary, load_balance, match, upstream_vhost
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.unsupported import GUARDS, LEFT_OUT
from ingressd.filters.upstream_vhost import UpstreamVhost
from ingressd.filters.variables import Template
from ingressd.table.policy import RoutePolicy
from ingressd.table.pool_variant import PLAIN
from tests.support.asked import asked
from tests.unit.filters.lookup import Known, site


def parsed(name: str, text: str) -> Any:
    return ANNOTATIONS[name].parse(text)


def test_every_scheduler_can_be_named() -> None:
    assert set(load_balance.SCHEDULERS) == REGISTERED.keys()
    for name in REGISTERED:
        varied = load_balance.SPEC.vary({"load-balance": parsed("load-balance", name)}, Known(), PLAIN)
        assert varied.scheduler == name
    assert parsed("load-balance", "round_robin") == "rr"
    assert load_balance.SPEC.vary({}, Known(), PLAIN) is PLAIN


def test_the_address_of_a_service_is_tried_once_and_that_is_said() -> None:
    values = {"service-upstream": True}
    assert load_balance.SPEC.refine(values, RoutePolicy()).tries == 1
    (remark,) = load_balance.SPEC.remarks(values, site())
    assert (remark.annotation, "kube-proxy" in str(remark)) == ("service-upstream", True)
    for off in ({}, {"service-upstream": False}):
        assert load_balance.SPEC.refine(off, RoutePolicy()) == RoutePolicy()
        assert not list(load_balance.SPEC.remarks(off, site()))


def test_a_host_is_sent_in_place_of_the_clients() -> None:
    request = asked("http://a.test/?h=b.test")
    UpstreamVhost(Template.parse("$arg_h:81")).on_request(request)
    assert request.edits is not None
    assert request.edits.authority == "b.test:81"


def test_a_host_that_is_empty_for_a_request_leaves_the_clients() -> None:
    request = asked("http://a.test/")
    UpstreamVhost(Template.parse("$arg_h")).on_request(request)
    assert request.edits is None


def test_a_host_that_is_none_is_a_bad_request() -> None:
    with pytest.raises(LocalReply) as refused:
        UpstreamVhost(Template.parse("$arg_h")).on_request(asked("http://a.test/?h=a/b"))
    assert refused.value.status == 400


def test_what_changes_nothing_is_said_only_where_it_would() -> None:
    for values, count in (
        ({"connection-proxy-header": "keep-alive", "proxy-http-version": "1.1"}, 0),
        ({"connection-proxy-header": "close", "proxy-http-version": "1.0"}, 2),
    ):
        assert upstream_vhost.SPEC.build(values, site()) is None
        assert len(list(upstream_vhost.SPEC.remarks(values, site()))) == count


@pytest.mark.parametrize(
    ("name", "text", "meaning"),
    [
        ("match-methods", "GET, HEAD,GET", ("GET", "HEAD")),
        (
            "match-headers",
            "X-Env=beta, X-Debug",
            (match.Wanted("x-env", "beta", None), match.Wanted("x-debug", None, None)),
        ),
        ("match-headers", "X-Env = a=b", (match.Wanted("x-env", "a=b", None),)),
        ("match-headers", "X-Env=", (match.Wanted("x-env", "", None),)),
        ("match-query", "V=1,w", (match.Wanted("V", "1", None), match.Wanted("w", None, None))),
        ("canary-weight", "0", 0),
        ("canary-weight-total", "1000", 1000),
        ("canary-by-header", "X-Canary", "x-canary"),
        ("canary-by-header-value", " beta", " beta"),
        ("canary-by-cookie", "canary", "canary"),
    ],
)
def test_what_values_mean(name: str, text: str, meaning: object) -> None:
    assert parsed(name, text) == meaning


def test_an_expression_is_found_behind_a_tilde() -> None:
    (wanted,) = parsed("match-headers", "X-Env=~^(a|b)$")
    assert (wanted.value, wanted.pattern.pattern) == (None, "^(a|b)$")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("match-methods", ""),
        ("match-methods", "get"),
        ("match-methods", "GET POST"),
        ("match-headers", ""),
        ("match-headers", ",,"),
        ("match-headers", "X Env=1"),
        ("match-headers", "=1"),
        ("match-headers", "X-Env=~"),
        ("match-headers", "X-Env=~("),
        ("match-headers", "X-Env=~(a+)+b"),
        ("match-headers", f"X-Env=~{'a' * 600}"),
        ("match-query", "=1"),
        ("canary", "yes"),
        ("canary-by-header", ""),
        ("canary-by-header", "é"),
        ("canary-by-header-pattern", ""),
        ("canary-by-header-pattern", "["),
        ("canary-by-cookie", "a=b"),
        ("canary-weight", "-1"),
        ("canary-weight", "10%"),
        ("canary-weight-total", "1.5"),
    ],
)
def test_what_means_nothing_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(name, text)


def test_what_a_canary_reads_exists() -> None:
    assert ANNOTATIONS.keys() > canary.CANARY_READS
    assert not canary.CANARY_READS & (GUARDS.keys() | LEFT_OUT.keys())


def test_an_annotation_that_guards_never_counts_on_a_canary() -> None:
    assert not [name for name in canary.CANARY_READS if ANNOTATIONS[name].guard]
