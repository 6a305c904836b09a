"""RequestEdits: what the filters of a route have changed of one request. Only requests that were changed have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Affinity
from ingressd.http.edited_lines import EditedLines, FixedFields

Tap = Callable[[bytes, bool], None]


class RequestEdits:
    """Changes, in the order in which filters made them."""

    __slots__ = (
        "added",
        "affinity",
        "authority",
        "body_bytes",
        "detoured",
        "ends",
        "fields",
        "instead",
        "method",
        "notes",
        "pool",
        "taps",
        "target",
    )

    def __init__(self) -> None:
        self.target: str | None = None
        """Origin-form; None = as the client sent it."""
        self.authority: str | None = None
        """Host for the endpoint; None = the client's."""
        self.fields: EditedLines | None = None
        """All fields for the endpoint but Host and framing; None = as they were, with those of `added` behind them."""
        self.added: tuple[FixedFields, ...] = ()
        self.method: str | None = None
        """Of a Detour; None = the client's."""
        self.pool: str | None = None
        self.affinity: Affinity | None = None
        self.taps: tuple[Tap, ...] = ()
        self.notes: dict[Any, Any] = {}
        self.ends: tuple[Callable[[], None], ...] = ()
        """Called when the request has ended."""
        self.detoured = False
        """The response that comes is that of a Detour."""
        self.instead: LocalReply | None = None
        """What the client gets when that does not come."""
        self.body_bytes = 0
        """Of the request body, when the Detour began."""


def refuse_value(problem: ValueError) -> LocalReply:
    """The answer when a value that a filter made of a request cannot be a field."""
    return LocalReply(400, Reason.BAD_REQUEST, str(problem))
