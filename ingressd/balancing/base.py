"""What a scheduler is given and what it must do. It never knows sockets or clocks: a request says when it began."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol, TypeVar


class Target(Protocol):
    """An endpoint as schedulers see it. It is itself only: two of them are never equal."""

    @property
    def key(self) -> str:
        """`ADDRESS:PORT`, the same in every process."""

    @property
    def active(self) -> int:
        """Requests in flight in this process."""

    @property
    def latency_s(self) -> float:
        """How long answers take, as of `latency_at` (peak_ewma.py); 0 before the first one."""

    @property
    def latency_at(self) -> float:
        """Monotonic seconds of the last answer; 0 before the first one."""


class Request(Protocol):
    """What is being balanced, as schedulers see it: a request, or a connection at layer 4."""

    @property
    def client_address(self) -> str:
        """The client's, as text; an IP address but for odd words of a trusted proxy."""

    @property
    def host(self) -> str:
        """Whom the client asked for, in lower case; empty when it did not say."""

    @property
    def began(self) -> float:
        """Monotonic seconds."""


T = TypeVar("T", bound=Target)


class Scheduler(Protocol[T]):
    """Picks targets. One object a pool; it lives on when the pool's endpoints change."""

    def update(self, targets: Mapping[T, int]) -> None:
        """The pool's targets and their weights are now these; what is known about those that stay is kept.

        A weight is a share of the traffic; 0 takes none. Schedulers without weights take all others as equal.
        """

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The target for `request` that is not in `tried`; None when there is none.

        Something in `tried` means that this is a second attempt. It takes nobody's turn: else every request would
        begin at an endpoint that is down.
        """
