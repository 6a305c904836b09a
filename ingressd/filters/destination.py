"""Destination: where a filter sends a request of its own, as a URL in an annotation says it.

In: `https://auth.example/check?to=$escaped_request_uri`, when a route is compiled. Out: for each request the address to
connect to, the Host, the URL. The name of a Service in the manifests leads to its endpoints, any other name to DNS.
A client may choose what is asked, never who is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import quote

from yarl import URL

from ingressd.errors import LocalReply
from ingressd.filters.base import Request, Site, Unusable
from ingressd.filters.variables import Template
from ingressd.http.authority import canonical_host

_PORTS = {"http": "80", "https": "443"}
_AS_THEY_ARE = "!$%&'()*+,-./:;=?@[]_~|"
"""What a target may have; a blank of some field of a request would end the line."""

_url = re.compile(r"(https?)://([^#\\@\s][^#\s]*)").fullmatch
_target = re.compile(r"[/?]|\$\{?(?:request_uri|document_uri|uri)\b\}?").search
"""Where a URL goes on behind its host: also with a variable that begins with a slash."""
_foreign = re.compile(r"[\\@]").search
_variable = re.compile(r"\$\{?([A-Za-z0-9_]*)\}?")
_service = re.compile(r"([a-z0-9-]+\.[a-z0-9-]+\.svc(?:\.[a-z0-9.-]*)?)(?::([0-9]{1,5}))?").fullmatch

HOST, SERVER_NAME = "host", "server_name"
_HOST_VARIABLES = frozenset({HOST, SERVER_NAME})


class Place(NamedTuple):
    """What a request is sent to."""

    url: URL
    host: str
    """Its Host."""
    server_name: str | None
    """Whose certificate it must be; None = that of the URL's host."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL that may have variables."""

    text: str
    scheme: str
    authority: Template
    target: Template
    """In origin-form."""
    pool: str = ""
    """Id of the pool whose endpoints answer; empty = the host is asked for in DNS."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Raises ValueError, whose text continues `... must be`."""
        match = _url(text.strip())
        found = None if match is None else _target(match[2])
        authority = "" if match is None else match[2][: len(match[2]) if found is None else found.start()]
        if match is None or not authority or _foreign(authority):
            raise ValueError(
                'a URL with http:// or https://, without user or fragment, as in "https://auth.example/check"'
            )
        scheme, rest = match[1], match[2][len(authority) :] or "/"
        foreign = sorted(set(_variable.findall(authority)) - _HOST_VARIABLES)
        if foreign:
            raise ValueError(f"a URL whose host has no variable but $host: with ${foreign[0]} clients say who is asked")
        if "$" not in authority:
            try:
                canonical_host(authority.encode("ascii"))
            except (LocalReply, UnicodeEncodeError):
                raise ValueError(f"a URL with a valid host and port: not {authority}") from None
        target = f"/{rest}" if rest.startswith("?") else rest
        return cls(text.strip(), scheme, Template.parse(authority), Template.parse(target))

    def at(self, site: Site, annotation: str) -> Destination:
        """The same for the routes of one host. Raises Unusable."""
        used = set(_variable.findall(self.authority.text))
        if (used and not site.host) or (SERVER_NAME in used and site.host.startswith("*")):
            raise Unusable(
                annotation,
                "this route takes any host, so that clients would say who is asked",
                "write the host into the URL, or into the rule",
            )
        match = _service(self.authority.text.lower())
        lookup = site.lookup
        if match is None or lookup is None:
            return self
        try:
            pool = lookup.pool(match[1].removesuffix("."), match[2] or _PORTS[self.scheme], annotation)
        except Unusable:
            return self  # a cluster's DNS may know it
        return replace(self, pool=pool)

    def place(self, request: Request) -> Place | None:
        """Where to send it this time; None when the Service has no endpoint."""
        authority = self.authority.render(request)
        target = quote(self.target.render(request), safe=_AS_THEY_ARE, encoding="latin-1", errors="replace")
        if not self.pool:
            return Place(URL(f"{self.scheme}://{authority}{target}", encoded=True), authority, None)
        endpoint = request.services.endpoint(self.pool, request)
        if endpoint is None:
            return None
        url = URL(f"{self.scheme}://{endpoint}{target}", encoded=True)
        return Place(url, authority, authority.partition(":")[0] if self.scheme == "https" else None)


def fixed(parse: Callable[[str], Destination]) -> Callable[[str], Destination]:
    """A parser of URLs that are the same for every request."""

    def parse_fixed(text: str) -> Destination:
        destination = parse(text)
        if not (destination.authority.fixed and destination.target.fixed):
            raise ValueError("a URL without variables")
        return destination

    return parse_fixed
