"""The two retry decisions: may a failed attempt, or one that was answered like a failure, be made again elsewhere?

In: what the route allows, and how far the attempt came. Out: yes or no. Whether there is another endpoint, and room in
the budget, is for the pool to say.
"""

from __future__ import annotations

from ingressd.errors import Reason
from ingressd.table.policy import CONNECT_TIMEOUT, ERROR, INVALID_HEADER, NON_IDEMPOTENT, READ_TIMEOUT, RoutePolicy

# RFC 9110 section 9.2.2: what may be repeated without knowing whether it was processed.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

_CONDITION = {
    Reason.CONNECT_REFUSED: ERROR,
    Reason.CONNECT_FAILED: ERROR,
    Reason.UPSTREAM_RESET: ERROR,
    Reason.CONNECT_TIMEOUT: CONNECT_TIMEOUT,
    Reason.UPSTREAM_TIMEOUT: READ_TIMEOUT,
    Reason.BAD_GATEWAY_RESPONSE: INVALID_HEADER,
}
"""Why an attempt failed -> what a policy calls that."""


def may_retry(
    policy: RoutePolicy,
    reason: Reason,
    *,
    method: str,
    attempts: int,
    elapsed_s: float,
    sent: bool,
    untouched: bool,
    replayable: bool,
    stale: bool = False,
) -> bool:
    """Decide after a failure.

    `sent`: request bytes may have reached the endpoint; `untouched`: no response byte came back;
    `replayable`: the part of the request body that was sent is still held; `stale`: it was a kept connection, which
    the endpoint had closed: that counts as no attempt.
    """
    if stale and untouched:
        return replayable and (method in IDEMPOTENT or NON_IDEMPOTENT in policy.retry_on)
    condition = _CONDITION.get(reason)
    if condition not in policy.retry_on or not (untouched or condition == INVALID_HEADER):
        return False
    return _may_repeat(policy, method, attempts, elapsed_s, sent=sent, replayable=replayable)


def may_retry_status(
    policy: RoutePolicy, status: int, *, method: str, attempts: int, elapsed_s: float, replayable: bool
) -> bool:
    """Decide when a response has begun, of which the client has got nothing yet."""
    return status in policy.retry_statuses and _may_repeat(
        policy, method, attempts, elapsed_s, sent=True, replayable=replayable
    )


def _may_repeat(
    policy: RoutePolicy, method: str, attempts: int, elapsed_s: float, *, sent: bool, replayable: bool
) -> bool:
    if not replayable or 0 < policy.tries <= attempts or 0 < policy.tries_s <= elapsed_s:
        return False
    return not sent or method in IDEMPOTENT or NON_IDEMPOTENT in policy.retry_on
