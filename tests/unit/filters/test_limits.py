"""limit-*: what is asked for, the defaults, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ingressd.errors import LocalReply
from ingressd.filters.base import Site
from ingressd.filters.buckets import private
from ingressd.filters.limits import SPEC, Limits, Rate
from ingressd.filters.registry import ANNOTATIONS
from ingressd.observe.stats import WorkerStats
from ingressd.proxy.services import WorkerServices
from tests.support.asked import asked

SITE = Site("a.test", tls=False, https=False, https_redirect_port=443, namespace="default", ingress="web")


@pytest.fixture
def services() -> Iterator[WorkerServices]:
    loop = asyncio.new_event_loop()
    yield WorkerServices(loop, WorkerStats(), private())
    loop.close()


def built(**annotations: str) -> Limits:
    names = {key.replace("_", "-"): value for key, value in annotations.items()}
    made = SPEC.build({name: ANNOTATIONS[name].parse(text) for name, text in names.items()}, SITE)
    assert isinstance(made, Limits)
    return made


def statuses(limits: Limits, services: WorkerServices, count: int, **request: Any) -> list[int]:
    replies = (limits.on_request(asked(services=services, **request)) for _ in range(count))
    return [0 if reply is None else reply.status for reply in replies]


def test_without_a_limit_there_is_no_filter() -> None:
    assert SPEC.build({"limit-burst-multiplier": 3, "limit-dry-run": True}, SITE) is None
    names = ("limit-rps", "limit-rpm", "limit-connections")
    assert {ANNOTATIONS[name].default for name in names} == {"0"}
    assert SPEC.build({name: ANNOTATIONS[name].parse("0") for name in names}, SITE) is None


def test_the_defaults_are_those_of_ingress_nginx() -> None:
    limits = built(limit_rps="10", limit_rpm="100", limit_connections="3")
    assert limits == Limits("default/web", 3, (Rate(100, 60, 500), Rate(10, 1, 50)), (), 503, False)
    assert {
        name: ANNOTATIONS[name].default for name in ("limit-burst-multiplier", "limit-status", "limit-dry-run")
    } == {
        "limit-burst-multiplier": "5",
        "limit-status": "as --limit-status",
        "limit-dry-run": "false",
    }


def test_a_burst_passes_at_once_and_then_the_rate_holds(services: WorkerServices) -> None:
    limits = built(limit_rpm="1", limit_burst_multiplier="2")
    assert statuses(limits, services, 5) == [0, 0, 0, 503, 503]
    assert statuses(limits, services, 1, client="192.0.2.8") == [0]


def test_the_answer_says_when_to_come_again(services: WorkerServices) -> None:
    limits = built(limit_rpm="2", limit_burst_multiplier="1", limit_status="429")
    replies = [limits.on_request(asked(services=services)) for _ in range(4)]
    refusal = replies[-1]
    assert isinstance(refusal, LocalReply)
    assert (refusal.status, refusal.reason, refusal.headers) == (429, "rate_limited", ((b"Retry-After", b"30"),))


def test_a_request_that_one_rate_refuses_uses_nothing_of_the_other(services: WorkerServices) -> None:
    limits = built(limit_rps="1", limit_rpm="1000", limit_burst_multiplier="1")
    statuses(limits, services, 500)
    per_minute = built(limit_rpm="1000", limit_burst_multiplier="1")
    assert statuses(per_minute, services, 999) == [0] * 999


def test_clients_on_the_list_have_no_limit(services: WorkerServices) -> None:
    lists = {"limit_allowlist": "10.0.0.0/8", "limit_whitelist": "2001:db8::/32"}
    limits = built(limit_rpm="1", limit_burst_multiplier="1", **lists)
    assert statuses(limits, services, 9, client="10.1.2.3") == [0] * 9
    assert statuses(limits, services, 9, client="2001:db8::1") == [0] * 9
    assert statuses(limits, services, 3) == [0, 0, 503]


def test_requests_at_one_time_are_counted_until_they_end(services: WorkerServices) -> None:
    limits = built(limit_connections="2")
    requests = [asked(services=services) for _ in range(3)]
    first, second, third = (limits.on_request(request) for request in requests)
    assert (first, second) == (None, None)
    assert isinstance(third, LocalReply)
    edits = requests[0].edits
    assert edits is not None
    for end in edits.ends:
        end()
    assert limits.on_request(asked(services=services)) is None
    assert requests[2].edits is None


def test_a_dry_run_only_counts(services: WorkerServices) -> None:
    limits = built(limit_rpm="1", limit_burst_multiplier="1", limit_dry_run="true")
    assert statuses(limits, services, 6) == [0] * 6
    assert services._stats.filter_events == {"limit_dry_run": 4}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limit-rps", "0.5"),
        ("limit-rps", "ten"),
        ("limit-rpm", "-1"),
        ("limit-connections", "1.5"),
        ("limit-burst-multiplier", "0"),
        ("limit-status", "500"),
        ("limit-allowlist", "10.0.0.0/33"),
        ("limit-whitelist", "host.test"),
    ],
)
def test_what_is_no_limit_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError):
        ANNOTATIONS[name].parse(text)
