"""Pace: whether a client sends its request body, and takes its answer, fast enough.

In: counts of bytes and the time. Out: how long to wait, or that it is stuck. Neither class knows a clock or a socket.
"""

from __future__ import annotations

from ingressd.settings import Limits

LOOKS = 4
"""How often within the gap a client with a full buffer is looked at: it is cut at most a quarter late."""


class BodyPace:
    """The average rate of one request body, over the time in which we would have read it (Kestrel's rule)."""

    __slots__ = ("_bytes", "_held_since", "_since")

    def __init__(self, now: float) -> None:
        self._bytes = 0
        self._since = now
        self._held_since: float | None = None

    @property
    def begun(self) -> bool:
        """Anything of the body has come."""
        return self._bytes > 0

    def came(self, count: int) -> None:
        """So many bytes were read."""
        self._bytes += count

    def restart(self, now: float) -> None:
        """The time until now was not the client's."""
        self._since = now

    def hold(self, now: float) -> None:
        """We do not read: the time from here on is not the client's."""
        if self._held_since is None:
            self._held_since = now

    def go_on(self, now: float) -> None:
        """We read again."""
        if self._held_since is not None:
            self._since += now - self._held_since
            self._held_since = None

    def patience_s(self, limits: Limits, now: float) -> float:
        """How long nothing may come before the gap is too long or the average too low; 0: it is already."""
        rate = limits.body_rate_bytes_s
        if not rate:
            return limits.request_body_gap_s
        due = self._since + max(limits.body_rate_grace_s, self._bytes / rate)
        return min(limits.request_body_gap_s, max(0.0, due - now))


class AnswerPace:
    """Whether a client with a full buffer reads at all. A slow one may be as slow as it likes."""

    __slots__ = ("_since", "_taken")

    def __init__(self, taken: int, now: float) -> None:
        """`taken`: bytes that the client has got since the connection was made."""
        self._taken = taken
        self._since = now

    def stuck(self, taken: int, gap_s: float, now: float) -> bool:
        """Whether nothing was taken for the whole gap."""
        if taken != self._taken:
            self._taken = taken
            self._since = now
        return now - self._since >= gap_s
