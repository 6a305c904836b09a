"""The two retry decisions, condition by condition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import Reason
from ingressd.proxy.retry import IDEMPOTENT, may_retry, may_retry_status
from ingressd.table.policy import ERROR, INVALID_HEADER, NON_IDEMPOTENT, READ_TIMEOUT, RoutePolicy

DEFAULT = RoutePolicy()


def decided(policy: RoutePolicy = DEFAULT, reason: Reason = Reason.UPSTREAM_RESET, **changes: Any) -> bool:
    facts: dict[str, Any] = {
        "method": "GET",
        "attempts": 1,
        "elapsed_s": 0.1,
        "sent": True,
        "untouched": True,
        "replayable": True,
    }
    return may_retry(policy, reason, **{**facts, **changes})


@pytest.mark.parametrize(
    ("reason", "retried"),
    [
        (Reason.CONNECT_REFUSED, True),
        (Reason.CONNECT_FAILED, True),
        (Reason.CONNECT_TIMEOUT, True),
        (Reason.UPSTREAM_RESET, True),
        (Reason.UPSTREAM_TIMEOUT, False),
        (Reason.BAD_GATEWAY_RESPONSE, False),
        (Reason.OVERLOAD, False),
    ],
)
def test_by_default_only_what_no_endpoint_has_worked_on_for_long_is_repeated(reason: Reason, retried: bool) -> None:
    assert decided(reason=reason) is retried


def test_what_a_policy_names_is_repeated_and_nothing_else() -> None:
    assert decided(RoutePolicy(retry_on=frozenset({READ_TIMEOUT})), Reason.UPSTREAM_TIMEOUT)
    assert not decided(RoutePolicy(retry_on=frozenset({READ_TIMEOUT})), Reason.UPSTREAM_RESET)
    assert decided(RoutePolicy(retry_on=frozenset({INVALID_HEADER})), Reason.BAD_GATEWAY_RESPONSE, untouched=False)
    assert not decided(RoutePolicy(retry_on=frozenset()), Reason.CONNECT_REFUSED, sent=False)


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
def test_a_request_that_may_have_been_processed_is_not_repeated_unless_it_may(method: str) -> None:
    assert not decided(method=method)
    assert decided(method=method, sent=False)
    assert decided(RoutePolicy(retry_on=frozenset({ERROR, NON_IDEMPOTENT})), method=method)


def test_the_bounds_of_a_policy_hold() -> None:
    assert decided(attempts=2)
    assert not decided(attempts=3)
    assert decided(RoutePolicy(tries=0), attempts=1000)
    assert not decided(RoutePolicy(tries=1))
    assert decided(RoutePolicy(tries_s=5.0), elapsed_s=4.9)
    assert not decided(RoutePolicy(tries_s=5.0), elapsed_s=5.0)


def test_a_connection_that_was_closed_while_it_was_kept_counts_as_no_attempt() -> None:
    off = RoutePolicy(tries=1, retry_on=frozenset())
    assert decided(off, stale=True)
    assert not decided(off, stale=True, method="POST")
    assert not decided(off, stale=True, untouched=False)
    assert not decided(off, stale=True, replayable=False)


@given(st.booleans(), st.booleans(), st.sampled_from([*sorted(IDEMPOTENT), "POST"]))
def test_a_body_that_is_gone_and_an_answer_that_has_begun_are_never_repeated(
    sent: bool, stale: bool, method: str
) -> None:
    assert not decided(method=method, sent=sent, stale=stale, replayable=False)
    assert not decided(method=method, sent=sent, stale=stale, untouched=False)


def test_a_status_is_repeated_when_the_policy_names_it() -> None:
    policy = RoutePolicy(retry_statuses=frozenset({502, 503}))

    def asked(status: int, method: str = "GET", attempts: int = 1) -> bool:
        return may_retry_status(policy, status, method=method, attempts=attempts, elapsed_s=0.0, replayable=True)

    assert asked(502)
    assert not asked(500)
    assert not asked(502, method="POST")
    assert not asked(502, attempts=3)
