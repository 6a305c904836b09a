"""View: all that the admin API may know. process/ implements it; nothing in it can change anything.

Lists and dicts are JSON as it goes out; private keys and other secrets are never in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Json = Mapping[str, Any]


class View(Protocol):
    """A read-only look at the controller, at this moment."""

    def ready(self) -> bool:
        """Every worker serves the first snapshot, and nothing is being drained."""

    def condition(self) -> str:
        """Why ready() says what it says, in a few words: `serving`, `draining`, `worker 1 has no snapshot yet`."""

    def status(self) -> Json:
        """What /api/v1/status answers."""

    def faults(self) -> Sequence[Json]:
        """Every configuration mistake, as errors.Fault.as_dict()."""

    def routes(self) -> Sequence[Json]:
        """The compiled table in the order of precedence."""

    async def services(self) -> Sequence[Json]:
        """All Services with their endpoints, and what workers count. Waits as metrics() does."""

    def certificates(self) -> Sequence[Json]:
        """What is served to whom and until when; no keys."""

    def reloads(self) -> Sequence[Json]:
        """The last applied edits, the newest first."""

    def explain(self, url: str, method: str, headers: Sequence[tuple[str, str]]) -> Json:
        """Which route takes the request, and what lost. Raises ValueError for a URL that cannot be one."""

    async def metrics(self) -> bytes:
        """Prometheus text over all workers. Waits at most a second for a worker that does not answer."""
