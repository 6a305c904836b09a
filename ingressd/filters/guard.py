"""Guard: a filter that lets somebody in or does not. Several stand one after the other, or one of them is enough.

In: what a request says of who asks. Out: a verdict. satisfy.py puts guards side by side, so each of them keeps its
check apart from what it takes out of a request whether it was asked or not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from ingressd.filters.base import Request, Verdict

ANY = "any"
"""Value of `satisfy`: one guard is enough."""
USER = "ingressd.user"
"""Key in a request's notes: the name of whoever a guard has let in; for the access log."""


class Guard(Protocol):
    """Frozen, comparable and picklable, as filters are."""

    @property
    def grants(self) -> bool:
        """Whether passing its check is a reason to be let in; else it is only no reason to be kept out."""

    def cleanse(self, request: Request) -> None:
        """Take out of a request what its endpoint may hear from this guard alone, or not at all."""

    def check(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """None for somebody who may pass."""


def drop_authorization(request: Request) -> None:
    """What proves who somebody is, is not the endpoint's business."""
    if request.header("authorization") is not None:
        request.remove_header("authorization")


def quoted(text: str) -> str:
    """A quoted-string (RFC 9110 section 5.6.4) for a challenge."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def alone(values: Mapping[str, Any]) -> bool:
    """Whether a guard is a filter of its own; else satisfy.py makes one of all of them."""
    return values.get("satisfy") != ANY
