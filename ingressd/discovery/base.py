"""What a discovery provider is asked and what it answers.

A provider is made once with the Settings, then watches each Query until it is cancelled. It knows no Kubernetes
objects: compile/ asks, compile/ checks the answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Query:
    """One question. Equal queries are asked once, whoever needs them."""

    provider: str
    """`dns`, `static` or a plug-in's name."""
    target: str
    """In the provider's own words: a DNS name, a list of addresses, a query of the plug-in."""
    port: int
    """For addresses that come without a port of their own; 1 to 65535."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known now. With a `problem`, `endpoints` are the last good ones, if there were any."""

    endpoints: tuple[Endpoint, ...] = ()
    problem: str = ""
    """Why there are none, or why they may be stale: for the operator."""


class Discovery(Protocol):
    """A provider."""

    def watch(self, query: Query) -> AsyncIterator[Answer]:
        """Answers as they change, the first one as soon as possible. An async generator; cancelled when not needed.

        An exception ends the watch; it is reported as a problem, and asked again after a while.
        """


Factory = Callable[[Settings], Discovery]
"""What an entry point of the group `ingressd.discovery` names: usually the class itself."""
