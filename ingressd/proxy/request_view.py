"""RequestView: a request as the filters of its route see it and change it. An Exchange is one; so is a question.

In: what the head said. Out: RequestEdits, from which the request for the endpoint is made. A filter that only looks
leaves no edits behind.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from ingressd.filters.base import Affinity, Services
from ingressd.http.authority import canonical_host
from ingressd.http.client_certificate import ClientTls
from ingressd.http.edited_lines import EditedLines, FixedFields
from ingressd.http.fields import RequestFields
from ingressd.http.forwarded import RENDERED
from ingressd.http.target import canonicalise, split_absolute
from ingressd.proxy.request_edits import RequestEdits, refuse_value
from ingressd.table.route import Route


class RequestView:
    """See filters.base.Request. A subclass fills the attributes in before the first filter runs."""

    __slots__ = (
        "authority",
        "began",
        "client_address",
        "client_port",
        "edits",
        "fields",
        "host",
        "method",
        "path",
        "request_id",
        "route",
        "scheme",
        "target",
        "version",
    )

    method: str
    scheme: str
    host: str
    """Lower case, without port: what routes are matched by."""
    authority: str
    """The Host field as sent."""
    target: str
    path: str
    """Canonical: what routes are matched by."""
    version: str
    client_address: str
    client_port: int
    request_id: str
    began: float
    fields: RequestFields | None
    """None when the head is not understood: then what follows it has no meaning."""
    route: Route | None
    edits: RequestEdits | None
    """None as long as no filter has changed anything."""

    @property
    def server_port(self) -> int:
        """See Request."""
        raise NotImplementedError

    @property
    def client_tls(self) -> ClientTls | None:
        """See Request."""
        return None

    @property
    def has_body(self) -> bool:
        """See Request."""
        return False

    @property
    def services(self) -> Services:
        """See Request."""
        raise NotImplementedError

    def upstream_fields(self) -> EditedLines:
        """The fields that the endpoint would get if no filter changed any, a new list of them."""
        raise NotImplementedError

    # What filters read.

    @property
    def query(self) -> str:
        """See Request."""
        return self.target.partition("?")[2]

    @property
    def origin_target(self) -> str:
        """The target in origin-form, with its query."""
        target = self.target
        return target if target[:1] in ("/", "*", "") else split_absolute(target)[2]

    @property
    def notes(self) -> dict[Any, Any]:
        """See Request."""
        return self._edited().notes

    def header(self, name: str) -> str | None:
        """See Request."""
        if name == "host":
            return self.authority or None
        return None if self.fields is None else self.fields.by_name.get(name)

    def cookie(self, name: str) -> str | None:
        """See Request. The first one counts (RFC 6265 section 5.4 sends the most specific one first)."""
        cookies = self.header("cookie")
        if cookies is None or name not in cookies:
            return None
        for pair in cookies.split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip() == name:
                return value.strip().removeprefix('"').removesuffix('"')
        return None

    def argument(self, name: str) -> str | None:
        """See Request. The first one counts, names are compared without case, as nginx does it."""
        name = name.lower()
        for pair in self.query.split("&"):
            key, _, value = pair.partition("=")
            if key.lower() == name:
                return value
        return None

    def forwarded_lines(self) -> list[tuple[str, str]]:
        """See Request."""
        edits = self.edits
        if edits is None or (edits.fields is None and not edits.added):
            return self.upstream_fields().pairs()
        return self._edited_fields().pairs()

    # What filters change.

    def rewrite(self, target: str, *, checked: bool = False) -> None:
        """See Request."""
        if not checked:
            canonicalise(target)
        self._edited().target = target

    def set_upstream_host(self, authority: str) -> None:
        """See Request."""
        try:
            canonical_host(authority.encode("latin-1"))
        except UnicodeEncodeError:
            raise refuse_value(ValueError("the host has characters that a Host cannot have")) from None
        self._edited().authority = authority

    def set_header(self, name: str, value: str) -> None:
        """See Request."""
        try:
            self._edited_fields().set(name, value)
        except ValueError as problem:
            raise refuse_value(problem) from None

    def add_header(self, name: str, value: str) -> None:
        """See Request."""
        try:
            self._edited_fields().add(name, value)
        except ValueError as problem:
            raise refuse_value(problem) from None

    def remove_header(self, name: str) -> None:
        """See Request."""
        self._edited_fields().remove(name)

    def set_fixed(self, fixed: FixedFields) -> None:
        """See Request."""
        edits, sent, names = self._edited(), self.fields, fixed.taken
        untouched = edits.fields is None and not edits.added
        if untouched and sent is not None and names.isdisjoint(RENDERED) and names.isdisjoint(sent.names):
            edits.added = (fixed,)  # no field is replaced: no list of them is needed
        else:
            self._edited_fields().set_fixed(fixed)

    def add_fixed(self, fixed: FixedFields) -> None:
        """See Request."""
        edits = self._edited()
        if edits.fields is None:
            edits.added += (fixed,)
        else:
            edits.fields.add_fixed(fixed)

    def remove_all(self, names: Set[str]) -> None:
        """See Request."""
        self._edited_fields().remove_all(names)

    def send_to(self, pool: str) -> None:
        """See Request."""
        self._edited().pool = pool

    def prefer(self, affinity: Affinity) -> None:
        """See Request."""
        self._edited().affinity = affinity

    def at_end(self, call: Callable[[], None]) -> None:
        """See Request."""
        edits = self._edited()
        edits.ends = (*edits.ends, call)

    @property
    def preferred(self) -> Affinity | None:
        """See Request."""
        return None if self.edits is None else self.edits.affinity

    def tap(self, receive: Callable[[bytes, bool], None]) -> None:
        """See Request."""
        edits = self._edited()
        edits.taps = (*edits.taps, receive)

    def _edited(self) -> RequestEdits:
        edits = self.edits
        if edits is None:
            edits = self.edits = RequestEdits()
        return edits

    def _edited_fields(self) -> EditedLines:
        edits = self._edited()
        fields = edits.fields
        if fields is None:
            fields = edits.fields = self.upstream_fields()
            for fixed in edits.added:
                fields.add_fixed(fixed)
            edits.added = ()
        return fields
