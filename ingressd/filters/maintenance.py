"""maintenance: answer 503 in place of the application, for everybody but those who work on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.address_ranges import AddressRanges, among
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site
from ingressd.filters.values import boolean, whole

MESSAGE = "maintenance: please come again later"
MESSAGE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Maintenance:
    """503 with Retry-After."""

    message: str
    retry_after_s: int
    exempt: tuple[AddressRanges, ...]

    def __str__(self) -> str:
        return "maintenance: 503"

    def on_request(self, request: Request) -> LocalReply | None:
        """See RequestFilter."""
        if self.exempt and among(self.exempt, request.client_address):
            return None
        return LocalReply(
            503,
            Reason.MAINTENANCE,
            self.message,
            headers=((b"Retry-After", str(self.retry_after_s).encode("ascii")),),
        )


def _message(text: str) -> str:
    if len(text) > MESSAGE_CHARACTERS or not text.strip() or not text.replace("\n", " ").isprintable():
        raise ValueError(f"a text of at most {MESSAGE_CHARACTERS} characters")
    return text.strip()


class _Spec(FilterSpec):
    name = "maintenance"
    annotations = (
        Annotation("maintenance", boolean, "answer 503 in place of the application", "false", native=True),
        Annotation("maintenance-message", _message, "what the answer says", MESSAGE, native=True),
        Annotation("maintenance-retry-after", whole(1), "seconds after which to come again", "300", native=True),
        Annotation("maintenance-allow", AddressRanges.parse, "clients that get the application", native=True),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        if not values.get("maintenance", False):
            return None
        return Maintenance(
            values.get("maintenance-message", MESSAGE),
            values.get("maintenance-retry-after", 300),
            (values["maintenance-allow"],) if "maintenance-allow" in values else (),
        )


SPEC = _Spec()
