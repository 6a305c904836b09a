"""Health: what the results of a check say about one endpoint. A state machine: no I/O, no clock.

    unknown --first result--> healthy <==> unhealthy

The first result decides at once, as with HAProxy's `init-state up`: an endpoint that is not there is found by the
first check, and until then it is used. Afterwards it takes `fall` failures in a row, or `rise` successes.
"""

from __future__ import annotations


class Health:
    """Of one target. `rise` and `fall` come with each result: they may be edited."""

    __slots__ = ("checked_at", "detail", "healthy", "known", "streak", "took_s")

    def __init__(self, *, healthy: bool = True) -> None:
        """`healthy`: what counts until the first result."""
        self.healthy = healthy
        self.known = False
        """There was a result."""
        self.streak = 0
        """Results in a row that speak against `healthy`."""
        self.detail = "not checked yet"
        """The last result in words."""
        self.checked_at = 0.0
        """When it came, in seconds since the epoch; 0 = never."""
        self.took_s = 0.0

    def __repr__(self) -> str:
        state = "healthy" if self.healthy else "unhealthy"
        return f"<Health {state}{'' if self.known else '?'} streak={self.streak} {self.detail}>"

    def take(self, *, good: bool, rise: int, fall: int) -> bool:
        """One result. Returns whether it changed what counts."""
        known, self.known = self.known, True
        if good is self.healthy:
            self.streak = 0
            return False
        self.streak += 1
        if known and self.streak < (rise if good else fall):
            return False
        self.healthy = good
        self.streak = 0
        return True
