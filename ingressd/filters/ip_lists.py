"""allowlist-source-range, denylist-source-range: from which addresses a route may be asked.

In: the client's address, the peer's or what a trusted proxy says. Out: 403 for one that is denied, or that is not
among those that are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ingressd.errors import LocalReply, Reason
from ingressd.filters.address_ranges import AddressRanges, packed_address
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site
from ingressd.filters.guard import alone


@dataclass(frozen=True, slots=True)
class IpLists:
    """Who is denied, then who is allowed; None = nobody is denied, everybody is allowed."""

    allowed: AddressRanges | None = None
    denied: AddressRanges | None = None
    asks: ClassVar[bool] = True
    """It depends on who asks, whom `explain` does not know."""

    def __str__(self) -> str:
        words = [
            f"{word} {ranges.count}"
            for word, ranges in (("deny", self.denied), ("allow", self.allowed))
            if ranges is not None
        ]
        return f"ip-lists: {', '.join(words)}"

    @property
    def grants(self) -> bool:
        """See Guard. Not to be denied is no reason to be let in."""
        return self.allowed is not None

    def cleanse(self, request: Request) -> None:
        """See Guard: nothing."""

    def check(self, request: Request) -> LocalReply | None:
        """See Guard."""
        packed = packed_address(request.client_address)
        if packed is None or (self.denied is not None and self.denied.hold(packed)):
            return _refusal()
        if self.allowed is not None and not self.allowed.hold(packed):
            return _refusal()
        return None

    on_request = check
    """403 for an address that may not ask."""


def _refusal() -> LocalReply:
    return LocalReply(403, Reason.DENIED_IP, "this address may not ask here")


def lists_of(values: Mapping[str, Any]) -> IpLists | None:
    """The guard that the annotations ask for."""
    allowed = values.get("allowlist-source-range", values.get("whitelist-source-range"))
    denied = values.get("denylist-source-range")
    return None if allowed is None and denied is None else IpLists(allowed, denied)


class _Spec(FilterSpec):
    name = "ip-lists"
    annotations = (
        Annotation(
            "allowlist-source-range",
            AddressRanges.parse,
            "the addresses that may ask; all others get 403",
            "everybody",
            guard=True,
        ),
        Annotation(
            "whitelist-source-range",
            AddressRanges.parse,
            "the older name of allowlist-source-range",
            "everybody",
            guard=True,
            note="When both are set, allowlist-source-range counts.",
        ),
        Annotation(
            "denylist-source-range",
            AddressRanges.parse,
            "addresses that get 403, even when they are allowed",
            "nobody",
            guard=True,
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return lists_of(values) if alone(values) else None


SPEC = _Spec()
