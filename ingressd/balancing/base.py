"""What a scheduler is given and what it must do. It never knows requests, sockets or clocks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar


class Target(Protocol):
    """An endpoint as schedulers see it."""

    @property
    def key(self) -> str:
        """`ADDRESS:PORT`, the same in every process."""

    @property
    def weight(self) -> int:
        """Share of the traffic; 0 takes none."""

    @property
    def active(self) -> int:
        """Requests in flight in this process."""


T = TypeVar("T", bound=Target)


class Scheduler(Protocol[T]):
    """Picks targets. One object a pool; it lives on when the pool's endpoints change."""

    def update(self, targets: Sequence[T]) -> None:
        """The pool's targets are now these; what is known about those that stay is kept."""

    def pick(self, tried: Collection[T]) -> T | None:
        """The next target that is not in `tried`; None when there is none."""
