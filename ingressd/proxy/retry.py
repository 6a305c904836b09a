"""The retry decision: may a failed attempt be made again on another endpoint?"""

from __future__ import annotations

# RFC 9110 section 9.2.2: what may be repeated without knowing whether it was processed.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


def may_retry(*, method: str, attempts: int, tries: int, sent: bool, untouched: bool, replayable: bool) -> bool:
    """Decide after a failure.

    `sent`: request bytes may have reached the endpoint; `untouched`: no response byte came back;
    `replayable`: the part of the request body that was sent is still held.
    """
    if attempts >= tries or not untouched or not replayable:
        return False
    return not sent or method in IDEMPOTENT
