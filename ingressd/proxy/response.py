"""OutgoingResponse: a response between its head and its first byte to the client, for the filters of its route."""

from __future__ import annotations

from collections.abc import Iterable, Set
from http import HTTPStatus

from ingressd.filters.base import Encoder
from ingressd.http.edited_lines import EditedLines, FixedFields


class OutgoingResponse:
    """See filters.base.Response."""

    __slots__ = ("encoder", "endpoint", "fields", "reason", "status")

    def __init__(
        self, status: int, lines: Iterable[bytes], reason: str, endpoint: str, names: Iterable[str] | None = None
    ) -> None:
        """`names`: those of the lines, in lower case, where they are known."""
        self.status = status
        self.fields = EditedLines(lines, names)
        self.reason = reason
        self.endpoint = endpoint
        self.encoder: Encoder | None = None

    def header(self, name: str) -> str | None:
        """See Response."""
        values = self.fields.values(name)
        return ", ".join(values) if values else None

    def headers(self, name: str) -> list[str]:
        """See Response."""
        return self.fields.values(name)

    def set_header(self, name: str, value: str) -> None:
        """See Response."""
        self.fields.set(name, value)

    def add_header(self, name: str, value: str) -> None:
        """See Response."""
        self.fields.add(name, value)

    def remove_header(self, name: str) -> None:
        """See Response."""
        self.fields.remove(name)

    def set_fixed(self, fixed: FixedFields) -> None:
        """See Response."""
        self.fields.set_fixed(fixed)

    def add_fixed(self, fixed: FixedFields) -> None:
        """See Response."""
        self.fields.add_fixed(fixed)

    def remove_all(self, names: Set[str]) -> None:
        """See Response."""
        self.fields.remove_all(names)

    def encode(self, encoder: Encoder) -> None:
        """See Response."""
        self.fields.remove("content-length")
        self.encoder = encoder if self.encoder is None else _Chain(self.encoder, encoder)

    @property
    def start(self) -> bytes:
        """The status line, with the phrase that is registered for the status."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        return f"HTTP/1.1 {self.status} {phrase}\r\n".encode("ascii")


class _Chain:
    """Two encoders, one after the other."""

    def __init__(self, first: Encoder, second: Encoder) -> None:
        self._first = first
        self._second = second

    def feed(self, data: bytes) -> bytes:
        between = self._first.feed(data)
        return self._second.feed(between) if between else b""

    def finish(self) -> bytes:
        rest = self._first.finish()
        return (self._second.feed(rest) if rest else b"") + self._second.finish()
