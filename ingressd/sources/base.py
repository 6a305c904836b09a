"""What a source of resources is. It never knows what its resources are used for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from ingressd.model.resource_set import ResourceSet


class Source(Protocol):
    """A source keeps what was good: a mistake is a fault in its ResourceSet, never an exception."""

    def load(self, *, news_only: bool = False) -> ResourceSet:
        """All resources as they are now; the very same object as before when nothing changed. Blocks: call it in a
        thread where there is a loop. `news_only`: what changed since the last news of `watch` may wait for the next.
        """

    def watch(self) -> AsyncGenerator[None, None]:
        """Yields whenever something may have changed since the last load. An async generator; cancelled at the end."""
